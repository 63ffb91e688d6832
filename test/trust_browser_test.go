package test

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// internal has a sidecar make its own certificates, for localhost and 127.0.0.1.
func internal(storage string) string {
	return "tls: {mode: internal, http: \"127.0.0.1:0\", storage: " + storage + "}\n"
}

// trusting is a home directory whose user trusts the root in PEM for servers, as a
// developer would have done: by the database that Chromium has from NSS.
func trusting(t *testing.T, root []byte) (home string) {
	t.Helper()
	certutil := need(t, "certutil")
	home = t.TempDir()
	file, db := filepath.Join(home, "root.pem"), filepath.Join(home, ".pki", "nssdb")
	if err := os.WriteFile(file, root, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(db, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"-N", "--empty-password"}, {"-A", "-n", "the sidecar's", "-t", "C,,", "-i", file}} {
		if out, err := exec.Command(certutil, append([]string{"-d", "sql:" + db}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("certutil %q: %v: %s", args, err, out)
		}
	}
	return home
}

// What sidecar root prints makes a browser trust the certificates of mode internal:
// pages, WebSockets and Engine.IO go without a complaint.
func TestBrowserTrustsTheLocalRoot(t *testing.T) {
	t.Parallel()
	storage := t.TempDir()
	p := startProgram(t, startNode(t).addr, internal(storage)+patientEngine)
	p.log.line(t, `"msg":"certificate obtained"`, "127.0.0.1")
	p.log.line(t, `"msg":"certificate obtained"`, "localhost")
	cmd := exec.Command(must(t, raced), "root", "--upstream", "ws://127.0.0.1:1", "--tls.mode", "internal", "--tls.storage", storage)
	cmd.Dir = storage
	root, err := cmd.Output()
	if err != nil {
		t.Fatalf("sidecar root: %v: %s", err, root)
	}
	home := trusting(t, root)
	port := strings.TrimPrefix(p.addr, "127.0.0.1:")
	for _, host := range []string{"localhost", "127.0.0.1"} {
		t.Run(host, func(t *testing.T) {
			page := "https://" + host + ":" + port + "/page.html"
			judgePage(t, browsed(t, home, page, "window.results"))
			sameJSON(t, browsed(t, home, page, inAPage(t)), `{"secure":true,"page":"h2","echoes":["polling: hello","websocket: hello"]}`)
		})
	}
	for name, c := range map[string]struct{ home, host, fault string }{
		"a user who does not trust the root":    {t.TempDir(), "localhost", "ERR_CERT_AUTHORITY_INVALID"},
		"a name that is not in the certificate": {home, "other.localhost", "ERR_SSL_UNRECOGNIZED_NAME_ALERT"},
	} {
		t.Run(name, func(t *testing.T) {
			_, fault := browseAs(t, c.home, "https://"+c.host+":"+port+"/page.html", "window.results")
			if !strings.Contains(fault, c.fault) {
				t.Errorf("the browser said %q; want %s", fault, c.fault)
			}
		})
	}
}

func browsed(t *testing.T, home, url, expression string) json.RawMessage {
	t.Helper()
	value, fault := browseAs(t, home, url, expression)
	if fault != "" {
		t.Fatalf("opening %s: %s", url, fault)
	}
	return value
}

// inAPage is what a page does with the stock Engine.IO client, by each transport. The
// client comes inside it: the backend of these tests does not serve it.
func inAPage(t *testing.T) string {
	t.Helper()
	need(t, "node")
	client, err := os.ReadFile(filepath.Join("node", "node_modules", stockPackages[0], "dist", "engine.io.esm.min.js"))
	if err != nil {
		t.Fatal(err)
	}
	return `(async () => {
		const { Socket } = await import("data:text/javascript;base64,` + base64.StdEncoding.EncodeToString(client) + `");
		const by = (transport) => new Promise((resolve, reject) => {
			const s = new Socket(location.origin, { transports: [transport] });
			s.on("open", () => s.send("hello"));
			s.on("message", (m) => { resolve(transport + ": " + m); s.close(); });
			s.on("error", (e) => reject(e));
		});
		return {
			secure: isSecureContext, page: performance.getEntriesByType("navigation")[0].nextHopProtocol,
			echoes: [await by("polling"), await by("websocket")],
		};
	})()`
}
