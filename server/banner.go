package server

import (
	"net"

	"sidecar/config"
)

// banner says what is served where, in one line.
func (s *Server) banner() {
	c := s.inForce.Load().config
	ops := "off"
	if a := s.OpsAddr(); a != nil {
		ops = addressOf(a)
	}
	redirect := "off"
	if l := s.redirectListener; l != nil {
		redirect = addressOf(l.Addr())
	}
	var addresses []string
	for _, a := range s.Addrs() {
		addresses = append(addresses, addressOf(a))
	}
	s.log.Info("serving", "listen", addresses, "tls", c.TLS.Mode, "redirect", redirect, "ops", ops, "routes", routesOf(c), "file", c.File,
		"version", ThisVersion().Version, "descriptors", s.budget.files, "client_sockets", s.budget.sockets)
	if s.budget.files < lowLimit {
		s.log.Warn("the descriptor limit is low; raise it (ulimit -n, LimitNOFILE=) to serve more clients",
			"descriptors", s.budget.files, "client_sockets", s.budget.sockets)
	}
	if n := c.Limits.Access.Connections; n > s.budget.sockets {
		s.log.Warn("limits.connections is more than the descriptor limit allows",
			"connections", n, "client_sockets", s.budget.sockets)
	}
}

// addressOf writes an address as the configuration does.
func addressOf(a net.Addr) string {
	if a.Network() == "unix" {
		return "unix:" + a.String()
	}
	return a.String()
}

// routesOf lists routes with where they go.
func routesOf(c config.Config) []string {
	var list []string
	for _, r := range c.AllRoutes() {
		target := r.Upstream.URL
		if r.Upstream.Socket != "" {
			target = "unix:" + r.Upstream.Socket + " " + target
		}
		list = append(list, r.Name()+" -> "+target)
	}
	return list
}
