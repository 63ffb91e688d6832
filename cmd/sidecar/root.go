package main

import (
	"fmt"

	"sidecar/server"
)

// root is the command root. It reads what a running program made, and makes nothing.
func (p program) root(args []string) int {
	_, c, done, code := p.load("root", args)
	if done {
		return code
	}
	if c.TLS.Mode != "internal" {
		return p.fault("tls.mode is %s; only internal has a local authority", c.TLS.Mode)
	}
	text, err := server.LocalRoot(c)
	if err != nil {
		return p.failed(err)
	}
	if _, err := p.out.Write(text); err != nil {
		return p.failed(fmt.Errorf("writing the root: %w", err))
	}
	return exitOK
}
