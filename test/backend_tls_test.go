package test

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"sidecar/test/authority"
)

// With no ca of its own a wss backend must lead to a root of the system's.
func TestSystemRootsForBackends(t *testing.T) {
	t.Parallel()
	ca := authority.New(t)
	pair := ca.Files(t, "127.0.0.1")
	cert, err := tls.LoadX509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	backend := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	backend.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	backend.StartTLS()
	t.Cleanup(backend.Close)
	none := filepath.Join(t.TempDir(), "none.pem")
	if err := os.WriteFile(none, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		roots string
		want  int
	}{{authority.Roots(t, ca), http.StatusOK}, {none, http.StatusBadGateway}} {
		cmd := exec.Command(must(t, raced), "--listen", "127.0.0.1:0", "--ops.listen", "127.0.0.1:0", "--log.format", "json", "--upstream", "wss://"+backend.Listener.Addr().String())
		cmd.Dir = t.TempDir()
		cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+c.roots, "SSL_CERT_DIR="+t.TempDir())
		p := execute(t, cmd)
		res, err := http.Get("http://" + p.addr + "/")
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != c.want {
			t.Errorf("with the roots in %s: %d; want %d", c.roots, res.StatusCode, c.want)
		}
		if c.want != http.StatusOK {
			p.log.line(t, "backend cannot be reached", "certificate signed by unknown authority")
		}
	}
}
