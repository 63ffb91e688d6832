package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"time"

	"sidecar/config"
	"sidecar/demo"
	"sidecar/server"
)

// demo is the command demo: a backend on a free port, and a sidecar before it.
func (p program) demo(args []string) int {
	fs := flag.NewFlagSet("demo", flag.ContinueOnError)
	once := fs.Bool("once", false, "run every check without a browser, print a table, exit 0 or 1")
	listen := fs.String("listen", "localhost:8080", "where the page is served")
	if done, code := p.parse(fs, args); done {
		return code
	}
	text := fmt.Sprintf("listen: %q\nops: {listen: \"127.0.0.1:0\"}\n", *listen)
	if *once {
		text = "listen: \"127.0.0.1:0\"\nops: {listen: off}\nlog: {level: error}\ndrain: {for: 2s}\n"
	}
	upstream, stop, err := backend()
	if err != nil {
		return p.failed(err)
	}
	defer stop()
	c, err := config.Parse("demo", []byte(text+before(upstream)))
	if err != nil {
		return p.fault("%s", err)
	}
	s, err := server.Environment{Stderr: p.err}.New(c)
	if err != nil {
		return p.failed(fmt.Errorf("%w; another address can be given by --listen", err))
	}
	if *once {
		return p.demoOnce(s)
	}
	fmt.Fprintf(p.out, "open http://%s in a browser; stop with Ctrl-C\n", pageAddress(s, *listen))
	return p.attend(s)
}

// engineIO are the backend's paths that Engine.IO's clients reach, each with a route
// of its own: sessions have no path but their route's.
var engineIO = []string{"/echo", "/ticker", "/close", "/refuse"}

// before is how the sidecar finds the backend.
func before(upstream string) string {
	text := "protocols: [websocket, resume, engineio, http]\nupstream: " + upstream + "\nroutes:\n"
	for _, path := range engineIO {
		text += fmt.Sprintf("  - {path: %s, upstream: %q}\n", path, upstream)
	}
	return text
}

// backend serves the demo's backend on a free port until stop.
func backend() (upstream string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, fmt.Errorf("starting the demo's backend: %w", err)
	}
	b := &http.Server{Handler: demo.Backend(), ReadHeaderTimeout: 5 * time.Second}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = b.Serve(l) // ends by Close; if by anything else, the sidecar says 502
	}()
	return "ws://" + l.Addr().String(), func() { _ = b.Close(); <-ended }, nil
}

// pageAddress is the address as it was asked for, with the port that it became:
// a page's origin is what is in the address bar.
func pageAddress(s *server.Server, listen string) string {
	bound := s.Addrs()[0].String()
	host, _, err := net.SplitHostPort(listen)
	_, port, err2 := net.SplitHostPort(bound)
	if err != nil || err2 != nil {
		return bound
	}
	if host == "" {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}

// demoOnce runs the checks against s, and then ends it.
func (p program) demoOnce(s *server.Server) int {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	ended := make(chan int, 1)
	go func() { ended <- p.attend(s) }()
	passed := make(chan bool, 1)
	go func() { passed <- demo.Once(ctx, p.out, "http://"+s.Addrs()[0].String()) }()
	select {
	case <-ended: // a signal, or serving failed
		return exitFail
	case ok := <-passed:
		s.Close()
		<-ended
		if !ok {
			return exitFail
		}
		return exitOK
	}
}
