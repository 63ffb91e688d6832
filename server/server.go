// Package server assembles the program: listeners, routes, drain and reload.
package server

import (
	"context"
	"net"

	"sidecar/config"
)

// A Server is the whole program short of flags and signals.
type Server struct{}

// New checks what can only be checked here (files, descriptors) and binds the
// listeners; nothing is served before Run.
func New(c config.Config) (*Server, error) { panic("not yet") }

// Addrs are the bound client listeners' addresses; OpsAddr is nil when ops is off.
func (s *Server) Addrs() []net.Addr { panic("not yet") }
func (s *Server) OpsAddr() net.Addr { panic("not yet") }

// Run serves until ctx is done, then drains. It returns nil when everything
// ended in time, ErrDrain when connections had to be cut, or why serving failed.
func (s *Server) Run(ctx context.Context) error { panic("not yet") }

// Reload puts c in force for connections that open from now on. A c that cannot
// be put in force changes nothing.
func (s *Server) Reload(c config.Config) error { panic("not yet") }
