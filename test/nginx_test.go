package test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// The ways in which an nginx may stand in between, from careful to careless.
var nginxes = []struct{ name, location string }{
	{"buffering answers", `
		proxy_http_version 1.1;
		proxy_set_header Upgrade $http_upgrade;
		proxy_set_header Connection $upgrade_or_none;
		proxy_set_header Host $http_host;
		proxy_buffering on;
		proxy_request_buffering off;`},
	{"buffering requests too", `
		proxy_http_version 1.1;
		proxy_set_header Upgrade $http_upgrade;
		proxy_set_header Connection $upgrade_or_none;
		proxy_set_header Host $http_host;
		proxy_buffering on;
		proxy_request_buffering on;`},
	// What a host gives that was told nothing of WebSocket: requests arrive by
	// HTTP/1.0, and no upgrade gets through.
	{"as it comes", `
		proxy_http_version 1.0;
		proxy_set_header Host $http_host;`},
}

const nginxConfig = `
daemon off;
worker_processes 1;
%[5]s
pid %[1]s/pid;
error_log stderr warn;
events { worker_connections 512; }
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	client_max_body_size 10m;
	map $http_upgrade $upgrade_or_none { default upgrade; '' ''; }
	upstream sidecar { server %[2]s; keepalive 16; }
	server {
		listen %[3]s;
		location / {
			proxy_pass http://sidecar;%[4]s
		}
	}
}
`

// startNginx puts an nginx before the server at addr and says where it is.
func startNginx(t testing.TB, addr, location string) string {
	t.Helper()
	path := need(t, "nginx")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	// The socket is inherited, as in an upgrade of nginx, so that no port has to
	// be guessed.
	socket, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	dir := t.TempDir()
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;" // else its worker could not read what is ours
	}
	conf := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, nginxConfig, dir, addr, ln.Addr(), location, user), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "-p", dir, "-c", conf)
	cmd.ExtraFiles = []*os.File{socket}
	cmd.Env = append(os.Environ(), "NGINX=3;")
	log := new(output)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM) // killed, it would leave its worker behind
		cmd.Wait()
		if t.Failed() {
			t.Logf("nginx said:\n%s", tail(log.String(), 12))
		}
	})
	return ln.Addr().String()
}

// foreign reports whether an upgrade cannot get through this nginx.
func foreign(location string) bool { return !strings.Contains(location, "$http_upgrade") }

// A foreign proxy in between that holds answers back until they are whole.
func TestStockClientBehindNginx(t *testing.T) {
	t.Parallel()
	eachStock(t, func(t *testing.T, d *driver, m mode) {
		for _, n := range nginxes {
			t.Run(n.name, func(t *testing.T) {
				r := newEngineRig(t, transport{}, patientEngine)
				r.lengthen()
				addr := startNginx(t, r.front.Addr(), n.location)
				if foreign(n.location) {
					r.staysOnPolling(t, d, m, addr)
				} else {
					r.travel(t, d, m, addr, "s")
				}
				r.wantClean(t)
			})
		}
	})
}

// staysOnPolling is a session where WebSockets do not get through: one that must
// have one fails in plain words, the others go on by polling.
func (r *rig) staysOnPolling(t *testing.T, d *driver, m mode, addr string) {
	t.Helper()
	if m.name == "websocket" {
		r.via = overStock(d, m, addr)
		if _, err := r.try("refused", 0); err == nil {
			t.Error("a WebSocket went through")
		}
		m = modes[0] // for something to judge
	}
	r.via = overStock(d, m, addr)
	k := r.open(t, "s", 0)
	for range 5 {
		k.exchange(t, 50, 1000)
	}
	c := k.client.line.(*stock)
	if m.name == "upgrading" {
		if got, ok := c.await("upgradeError"); !ok {
			t.Errorf("the client reported %v; want a failed upgrade", got)
		}
	}
	k.exchange(t, 64, 16<<10)
	k.finish(t)
	for _, e := range c.saw() {
		if e.What == "upgrade" || e.What == "error" {
			t.Errorf("the client reported %v", e)
		}
	}
}
