package test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"sidecar/test/authority"
)

// An ending is where TLS ends: an authority, and what it issued for 127.0.0.1.
type ending struct {
	ca *authority.Authority
	authority.Pair
}

func newEnding(t testing.TB) ending {
	ca := authority.New(t)
	return ending{ca, ca.Files(t, "127.0.0.1", "localhost")}
}

// settings turn TLS on; more are further keys of the section.
func (e ending) settings(more string) string {
	return fmt.Sprintf("tls: {mode: files, cert: %q, key: %q, http: \"127.0.0.1:0\"%s}\n", e.Cert, e.Key, more)
}

func (e ending) config() *tls.Config { return &tls.Config{RootCAs: e.ca.Pool} }

// client speaks HTTP/2 to the sidecar and keeps no connection.
func (e ending) client(t testing.TB) *http.Client {
	tr := &http.Transport{TLSClientConfig: e.config(), ForceAttemptHTTP2: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// dial opens a wss connection that is closed with the test.
func (e ending) dial(t testing.TB, addr string) *websocket.Conn {
	t.Helper()
	d := websocket.Dialer{HandshakeTimeout: patience, TLSClientConfig: e.config()}
	c, _, err := d.Dial("wss://"+addr+"/?id=s", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetReadDeadline(time.Now().Add(patience))
	return c
}

func TestWSPackageOverTLS(t *testing.T) {
	t.Parallel()
	for name, more := range map[string]string{"on loops": "", "on goroutines": ", loop: false"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnding(t)
			file := filepath.Join(t.TempDir(), "ca.pem")
			if err := os.WriteFile(file, e.ca.PEM, 0o644); err != nil {
				t.Fatal(err)
			}
			s := boot(t, startNode(t).addr, e.settings(more))
			judge(t, wsScenarios(t, "wss://"+s.addr, "NODE_EXTRA_CA_CERTS="+file), "https")
		})
	}
}

// The page comes over HTTP/2 and its WebSockets over HTTP/1.1, as the browser chooses.
func TestBrowserOverTLS(t *testing.T) {
	t.Parallel()
	s := boot(t, startNode(t).addr, newEnding(t).settings(""))
	const flag = "--ignore-certificate-errors"
	judgePage(t, browse(t, "https://"+s.addr+"/page.html", "window.results", flag))
	if got := string(browse(t, "https://"+s.addr+"/page.html", `performance.getEntriesByType("navigation")[0].nextHopProtocol`, flag)); got != `"h2"` {
		t.Errorf("the page came by %s; want h2", got)
	}
}

// What a faulty pair is: exit code 2 with key, value and remedy, for run and check.
func TestExitCodeOfAFaultyPair(t *testing.T) {
	t.Parallel()
	one, two := newEnding(t), newEnding(t)
	none := filepath.Join(t.TempDir(), "none.pem")
	for name, c := range map[string]struct{ cert, key, says string }{
		"missing":  {none, one.Key, `tls.cert: "` + none + `" cannot be read: no such file or directory; name the PEM file of a certificate and its chain`},
		"mismatch": {one.Cert, two.Key, `tls.key: "` + two.Key + `" does not belong to the certificate in "` + one.Cert + `"; name the key that it was made for`},
		"no key":   {one.Cert, "", "tls.mode: files needs cert and key"},
	} {
		for _, command := range []string{"check", "run"} {
			cmd := exec.Command(must(t, raced), command, "--upstream", "ws://127.0.0.1:1", "--listen", "127.0.0.1:0", "--ops.listen", "off",
				"--tls.mode", "files", "--tls.cert", c.cert, "--tls.key", c.key, "--tls.http", "off")
			cmd.Dir = t.TempDir()
			out, _ := cmd.CombinedOutput()
			if code := cmd.ProcessState.ExitCode(); code != 2 || !strings.Contains(string(out), c.says) {
				t.Errorf("%s: sidecar %s: exit code %d, %q; want 2 and %q", name, command, code, out, c.says)
			}
		}
	}
	cmd := exec.Command(must(t, raced), "check", "--upstream", "ws://127.0.0.1:1", "--tls.mode", "files", "--tls.cert", one.Cert, "--tls.key", one.Key)
	cmd.Dir = t.TempDir()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("check of a good pair: %v: %s", err, out)
	}
}

// The program with TLS: health, metrics, the redirect, HUP with a new pair, and a
// drain that tells a wss client.
func TestProgramWithTLS(t *testing.T) {
	t.Parallel()
	e, a := newEnding(t), serveArrivals(t)
	roots := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(roots, e.ca.PEM, 0o644); err != nil {
		t.Fatal(err)
	}
	p := startProgram(t, a.addr, e.settings(fmt.Sprintf(", client_auth: {ca: %q, mode: request}", roots))) // all metrics are there
	live := e.dial(t, p.addr)
	backend := within(t, patience, "the connection", a.of("s"))
	defer backend.Close()

	cmd := exec.Command(must(t, raced), "health", "--ops.listen", p.ops, "--tls.mode", "files", "--tls.cert", e.Cert, "--tls.key", e.Key)
	cmd.Dir = t.TempDir()
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "ready\n" {
		t.Errorf("health: %q, %v", out, err)
	}
	e.checkMetrics(t, p)
	e.checkRedirect(t, p)
	e.checkHUP(t, p)

	if err := live.WriteMessage(websocket.TextMessage, []byte("still here")); err != nil {
		t.Fatal(err)
	}
	if _, m, err := backend.ReadMessage(); err != nil || string(m) != "still here" {
		t.Errorf("the live connection brought %q, %v", m, err)
	}
	p.signal(t, syscall.SIGTERM)
	go func() { // a backend that answers the close, and goes
		_, _, _ = backend.ReadMessage()
		backend.Close()
	}()
	if _, _, err := live.ReadMessage(); !websocket.IsCloseError(err, 1001) {
		t.Errorf("the client's end: %v; want 1001", err)
	}
	live.Close()
	if got := p.exit(t, patience); got != 0 {
		t.Errorf("exit code %d; want 0", got)
	}
}

// checkMetrics holds the table of the metrics against the program.
func (e ending) checkMetrics(t *testing.T, p *program) {
	t.Helper()
	text := fetch(t, "http://"+p.ops+"/metrics")
	names := cells(operations(t, "TLS"), 1)
	for _, name := range names {
		if !strings.Contains(text, "\n"+name+" ") && !strings.Contains(text, "\n"+name+"{") {
			t.Errorf("no metric %s", name)
		}
	}
	for line := range strings.Lines(text) {
		if name := strings.FieldsFunc(line, func(c rune) bool { return c == ' ' || c == '{' })[0]; strings.HasPrefix(name, "sidecar_tls_") && !slices.Contains(names, name) {
			t.Errorf("%s is not in the table", name)
		}
	}
}

func (e ending) checkRedirect(t *testing.T, p *program) {
	t.Helper()
	_, rest, _ := strings.Cut(p.log.line(t, `"msg":"serving"`), `"redirect":"`)
	plain, _, _ := strings.Cut(rest, `"`)
	res, err := e.client(t).Get("http://" + plain + "/x?y")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if got, want := res.Header.Get("Location"), "https://"+p.addr+"/x?y"; res.StatusCode != 301 || got != want {
		t.Errorf("redirected with %d to %q; want 301 and %q", res.StatusCode, got, want)
	}
}

func (e ending) checkHUP(t *testing.T, p *program) {
	t.Helper()
	before := e.serial(t, p.addr)
	_, key := e.ca.Issue(t, time.Hour, "127.0.0.1")
	if err := os.WriteFile(e.Key, key, 0o600); err != nil {
		t.Fatal(err)
	}
	p.signal(t, syscall.SIGHUP)
	p.log.line(t, "not reloaded", "tls.key: ", "does not belong to the certificate")
	if e.serial(t, p.addr) != before {
		t.Error("half a pair was taken")
	}
	e.Write(t, e.ca, time.Hour, "127.0.0.1")
	p.signal(t, syscall.SIGHUP)
	p.log.line(t, "expires in less than 14 days", e.Cert)
	if e.serial(t, p.addr) == before {
		t.Error("the new pair was not taken")
	}
}

// serial is the certificate that a new connection gets.
func (e ending) serial(t *testing.T, addr string) string {
	t.Helper()
	c := e.client(t)
	defer c.CloseIdleConnections()
	res, err := c.Get("https://" + addr + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	io.Copy(io.Discard, res.Body)
	if res.ProtoMajor != 2 {
		t.Errorf("answered by %s; want HTTP/2", res.Proto)
	}
	return res.TLS.PeerCertificates[0].SerialNumber.String()
}

// Watched files: a pair that is renewed is served without any signal.
func TestProgramTakesARenewedPair(t *testing.T) {
	t.Parallel()
	long(t)
	e := newEnding(t)
	p := startProgram(t, serveArrivals(t).addr, e.settings(""))
	before := e.serial(t, p.addr)
	e.Write(t, e.ca, time.Hour, "127.0.0.1")
	p.log.line(t, "expires in less than 14 days")
	if e.serial(t, p.addr) == before {
		t.Error("the new pair was not taken")
	}
}
