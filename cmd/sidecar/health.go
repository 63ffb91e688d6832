package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"sidecar/config"
)

// healthTime bounds the command health, which container runtimes commonly give
// a few seconds.
const healthTime = 2 * time.Second

// health is the command health. It reads the same configuration as the program
// that it asks, and so finds its ops listener.
func (p program) health(args []string) int {
	_, c, done, code := p.load("health", args)
	if done {
		return code
	}
	network, address, err := opsAddress(c)
	if err != nil {
		return p.fault("%s", err)
	}
	if err := askReady(network, address); err != nil {
		return p.failed(err)
	}
	fmt.Fprintln(p.out, "ready")
	return exitOK
}

// loadOps loads what health needs although no upstream may be named: in a
// container the program has it from arguments that a health check does not get.
// fault is what loading said before; it stands if that was not all.
func loadOps(src config.Source, fault error) (config.Config, error) {
	src.Env = append(slices.Clip(src.Env), "SIDECAR_UPSTREAM=ws://localhost")
	c, err := config.Load(src)
	if err != nil {
		return c, fault
	}
	return c, nil
}

// opsAddress is where the ops listener is found from this machine.
func opsAddress(c config.Config) (network, address string, err error) {
	if c.Ops.Off() {
		return "", "", fmt.Errorf("ops.listen is off; there is nobody to ask")
	}
	if path, ok := strings.CutPrefix(c.Ops.Listen, "unix:"); ok {
		return "unix", path, nil
	}
	host, port, err := net.SplitHostPort(c.Ops.Listen)
	if err != nil {
		return "", "", fmt.Errorf("ops.listen: %w", err)
	}
	if port == "0" {
		return "", "", fmt.Errorf("ops.listen: %q has no fixed port to ask", c.Ops.Listen)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1" // an image from scratch has no hosts file
	}
	return "tcp", net.JoinHostPort(host, port), nil
}

// askReady asks /readyz and returns why it is not ready.
func askReady(network, address string) error {
	var d net.Dialer
	t := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return d.DialContext(ctx, network, address)
	}}
	defer t.CloseIdleConnections()
	client := http.Client{Transport: t, Timeout: healthTime}
	res, err := client.Get("http://localhost/readyz")
	if err != nil {
		return fmt.Errorf("asking the ops listener: %w", err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err != nil {
		return fmt.Errorf("asking the ops listener: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s\n%s", res.Status, strings.TrimSpace(string(body)))
	}
	return nil
}
