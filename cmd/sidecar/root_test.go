package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// trusts shakes hands until that goes well, or nothing comes of it: the line in the log
// is there a moment before the certificate is served.
func trusts(addr, name string, pool *x509.CertPool) error {
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for end := time.Now().Add(10 * time.Second); ; <-again.C {
		c, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: pool, ServerName: name})
		if err == nil {
			return c.Close()
		}
		if time.Now().After(end) || !strings.Contains(err.Error(), "internal error") {
			return err
		}
	}
}

// The root that the command prints is the one by which a client trusts the program:
// the way that the documentation tells.
func TestRoot(t *testing.T) {
	if _, err := binary(); err != nil { // before try leaves its sources
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := write(t, fmt.Sprintf("listen: 127.0.0.1:0\nupstream: ws://127.0.0.1:1\nops: {listen: off}\nlog: {format: json}\n"+
		"tls: {mode: internal, http: off, storage: %q}\n", dir))
	code, out, err := try(t, nil, "root", "--config", file)
	if code != exitFail || out != "" || !strings.Contains(err, "there is no local authority yet") || !strings.Contains(err, dir) {
		t.Errorf("before the first start: exit code %d, %q, %q", code, out, err)
	}
	if found, err := os.ReadDir(dir); len(found) > 0 || err != nil {
		t.Errorf("it made %v, %v", found, err)
	}
	p := serve(t, file)
	p.line("certificate obtained")
	code, out, err = try(t, nil, "root", "--config", file)
	pool := x509.NewCertPool()
	if code != exitOK || err != "" || strings.Count(out, "-----BEGIN") != 1 || strings.Contains(out, "KEY") || !pool.AppendCertsFromPEM([]byte(out)) {
		t.Fatalf("exit code %d, %q, %q; want a certificate alone", code, out, err)
	}
	p.line("certificate obtained") // localhost, 127.0.0.1 and ::1
	p.line("certificate obtained")
	for _, name := range []string{"localhost", "127.0.0.1"} {
		if err := trusts(p.addr, name, pool); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	p.signal(syscall.SIGTERM)
	if code, _ := p.exit(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	file = filepath.Join(dir, "internal", "root.crt")
	for what, text := range map[string]string{"nothing": "", "something else": "x"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if code, out, err := try(t, nil, "root", "--upstream", "ws://a:1", "--tls.mode", "internal", "--tls.storage", dir); code != exitFail || out != "" || !strings.Contains(err, "holds no certificate") {
			t.Errorf("with %s: exit code %d, %q, %q", what, code, out, err)
		}
	}
	if code, _, err := try(t, nil, "root", "--upstream", "ws://a:1"); code != exitUsage || !strings.Contains(err, "only internal has a local authority") {
		t.Errorf("without TLS: exit code %d, %q", code, err)
	}
}
