//go:build linux

package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/template"

	"sidecar/bench/figure"
)

// A peer is what may stand between the clients and the backend.
type peer struct {
	name string
	// program must be found; "" for none.
	program string
	// config writes the peer's configuration for a site and returns the command
	// that starts it in the foreground; nil for no proxy at all.
	config func(*ground, site) ([]string, error)
	// extra peers take part only where they are asked for.
	extra bool
	// managed peers make their own certificate, and take part only over TLS.
	managed bool
	// speaks is all that it speaks to clients; "" for both of the first two.
	speaks language
	// ready reports what is missing besides program; nil for nothing.
	ready func() error
	// carrier is how its clients come; nil for as the work has it.
	carrier *carrier
}

func (a peer) String() string { return a.name }

// A language is what clients speak.
type language string

const (
	plain    language = "WebSocket"
	engineIO language = "Engine.IO"
	carried  language = "the carriers" // each peer's clients speak what its carrier is
)

// in reports whether a speaks l.
func (a peer) in(l language) bool { return a.speaks == l || a.speaks == "" && l != carried }

// A site is where a peer stands.
type site struct {
	Dir, Ground     string // its own directory, and that of the certificate
	Listen, Backend string
	TLS, Engine     bool
	Managed         bool   // it makes its certificate itself
	Carried         bool   // all that clients may speak, at once
	Level           string // of ours' log
	Connections     int
}

// peers are all, in the order in which they take turns.
func peers() []peer {
	return []peer{
		{name: "direct", speaks: plain},
		{name: "nginx", program: "nginx", speaks: plain, config: nginx},
		{name: "haproxy", program: "haproxy", speaks: plain, config: haproxy},
		{name: "node", program: "node", speaks: engineIO, config: node, ready: nodeReady},
		{name: figure.Ours, config: func(g *ground, s site) ([]string, error) { return sidecar(g.sidecar, "warn", s) }},
		{name: "logging", extra: true, config: func(g *ground, s site) ([]string, error) { return sidecar(g.sidecar, "info", s) }},
		{name: "managed", extra: true, managed: true, config: func(g *ground, s site) ([]string, error) { s.Managed = true; return sidecar(g.sidecar, "warn", s) }},
		{name: "other", extra: true, config: func(g *ground, s site) ([]string, error) { return sidecar(g.other, "warn", s) }},
	}
}

// present reports whether a can be started, and says so if it cannot.
func (a peer) present(notes io.Writer) bool {
	var err error
	if a.program != "" {
		if _, err = exec.LookPath(a.program); err != nil {
			err = fmt.Errorf("%s is not installed", a.program)
		}
	}
	if err == nil && a.ready != nil {
		err = a.ready()
	}
	if err != nil {
		fmt.Fprintf(notes, "%s: %v: LEFT OUT, and with it every ratio to it\n", a.name, err)
	}
	return err == nil
}

// Defaults but for what would end or refuse connections, and for logs.
const nginxConf = `daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid {{.Dir}}/pid;
error_log stderr error;
{{if .Root}}user root;{{end}}
events { worker_connections 19000; }
http {
	access_log off;
	client_body_temp_path {{.Dir}}/body; proxy_temp_path {{.Dir}}/proxy; fastcgi_temp_path {{.Dir}}/fastcgi;
	uwsgi_temp_path {{.Dir}}/uwsgi; scgi_temp_path {{.Dir}}/scgi;
	server {
		listen {{.Listen}}{{if .TLS}} ssl{{end}};
		{{if .TLS}}ssl_certificate {{.Ground}}/cert.pem; ssl_certificate_key {{.Ground}}/key.pem; ssl_protocols TLSv1.2 TLSv1.3;{{end}}
		location / {
			proxy_pass http://{{.Backend}};
			proxy_http_version 1.1;
			proxy_set_header Host $http_host;
			proxy_set_header Upgrade $http_upgrade;
			proxy_set_header Connection upgrade;
			proxy_read_timeout 1h;
			proxy_send_timeout 1h;
		}
	}
}
`

func nginx(_ *ground, s site) ([]string, error) {
	file, err := s.write("nginx.conf", nginxConf)
	return []string{"nginx", "-p", s.Dir, "-c", file, "-e", "stderr"}, err
}

const haproxyConf = `global
	nbthread 1
	maxconn {{.Connections}}
defaults
	mode http
	timeout connect 10s
	timeout client 1h
	timeout server 1h
	timeout tunnel 1h
frontend f
	bind {{.Listen}}{{if .TLS}} ssl crt {{.Ground}}/both.pem ciphersuites TLS_AES_128_GCM_SHA256{{end}}
	default_backend b
backend b
	server s {{.Backend}}
`

func haproxy(_ *ground, s site) ([]string, error) {
	file, err := s.write("haproxy.cfg", haproxyConf)
	return []string{"haproxy", "-db", "-f", file}, err
}

const sidecarConf = `listen: "{{.Listen}}"
upstream: ws://{{.Backend}}
{{if .Engine}}protocols: [websocket, engineio]
engineio: {ping_interval: 5m}
{{end}}{{if .Carried}}protocols: [websocket, resume, engineio]
engineio: {ping_interval: 5m}
resume: {poll: 5m, rotate: 5m}
{{end}}ops: {listen: off}
log: {level: {{.Level}}}
{{if .TLS}}tls: {http: off, {{if .Managed}}mode: internal, storage: {{.Storage}}{{else}}mode: files, cert: {{.Ground}}/cert.pem, key: {{.Ground}}/key.pem{{end}}}
{{end}}`

func sidecar(program, level string, s site) ([]string, error) {
	s.Level = level
	file, err := s.write("sidecar.yaml", sidecarConf)
	return []string{program, "--config", file}, err
}

// Root reports whether this runs as root; nginx would then run its worker as
// somebody who may not enter a temporary directory.
func (s site) Root() bool { return os.Geteuid() == 0 }

// Storage is the directory of certificates that a sidecar makes itself.
func (s site) Storage() string { return filepath.Join(s.Dir, "certificates") }

// write fills in a configuration and writes it.
func (s site) write(name, text string) (string, error) {
	t, err := template.New(name).Parse(text)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	if err := t.Execute(&b, s); err != nil {
		return "", err
	}
	file := filepath.Join(s.Dir, name)
	return file, os.WriteFile(file, []byte(b.String()), 0o600)
}

// freeAddr is an address of loopback that nobody listens at.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
