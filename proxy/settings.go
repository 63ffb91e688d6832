package proxy

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// An Upstream says where a backend is and how it is reached.
type Upstream struct {
	// URL is ws://, wss://, http:// or https:// with a host; ws and http mean
	// the same, and so do wss and https. A path in it takes the place of the
	// route's prefix. A query or user part is refused.
	URL string `yaml:"url" short:"true"`
	// Socket is the path of a unix socket to connect to in place of the URL's
	// host and port; the URL, ws://localhost by default, still gives the rest.
	Socket string `yaml:"socket"`
	// CA is a PEM file of roots to trust for a wss backend. Default: the system's.
	CA string `yaml:"ca"`
	// ServerName is the name a wss backend must prove. Default: the URL's host.
	ServerName string `yaml:"server_name"`
	// Cert and Key are PEM files to present to a wss backend that asks.
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
	// Subprotocol is offered to the backend for sessions whose own protocol has
	// no notion of one. Raw clients bring their own.
	Subprotocol string `yaml:"subprotocol"`
}

// IsZero reports whether no upstream is named.
func (u Upstream) IsZero() bool { return u == Upstream{} }

// Validate reports what is wrong with u, each fault as "key: what and remedy".
// Files are opened by NewBackend, not here.
func (u Upstream) Validate() error {
	var faults []error
	add := func(format string, a ...any) { faults = append(faults, fmt.Errorf(format, a...)) }
	if u.URL != "" || u.Socket == "" {
		if err := checkURL(u.URL); err != nil {
			add("url: %w", err)
		}
	}
	if u.Socket != "" && !strings.HasPrefix(u.Socket, "/") {
		add("socket: %q must be a path from / on", u.Socket)
	}
	secure := strings.HasPrefix(u.URL, "wss:") || strings.HasPrefix(u.URL, "https:")
	for _, f := range []struct{ key, val string }{{"ca", u.CA}, {"server_name", u.ServerName}, {"cert", u.Cert}, {"key", u.Key}} {
		if f.val != "" && !secure {
			add("%s: %q needs a wss:// or https:// url", f.key, f.val)
		}
	}
	if (u.Cert == "") != (u.Key == "") {
		add("cert: cert and key must be set together")
	}
	if u.Subprotocol != "" && !isToken(u.Subprotocol) {
		add("subprotocol: %q must be one word, without commas, quotes and the like", u.Subprotocol)
	}
	return errors.Join(faults...)
}

func validPort(s string) bool {
	n, err := strconv.Atoi(s)
	return err == nil && n > 0 && n < 1<<16
}

func checkURL(s string) error {
	p, err := url.Parse(s)
	switch {
	case s == "":
		return errors.New("an upstream needs a url, such as ws://127.0.0.1:9000")
	case err != nil:
		return fmt.Errorf("%q is not a URL: %w", s, errors.Unwrap(err))
	case !slices.Contains([]string{"ws", "wss", "http", "https"}, p.Scheme):
		return fmt.Errorf("%q must begin with ws://, wss://, http:// or https://", s)
	case p.Hostname() == "":
		return fmt.Errorf("%q names no host", s)
	case p.Port() != "" && !validPort(p.Port()):
		return fmt.Errorf("%q has a port that is not 1 to 65535", s)
	case p.User != nil || p.RawQuery != "" || p.Fragment != "":
		return fmt.Errorf("%q must have no user, query or fragment", p.Redacted())
	}
	return nil
}

// Limits bound what one connection may cost.
type Limits struct {
	// Message is the most bytes one message may have on the wire, over all its
	// fragments, in either direction. Beyond it its sender gets 1009. Default
	// 16 MiB; 0 is the default too.
	Message int64 `yaml:"message" unit:"bytes"`
	// WriteTimeout ends a connection to which nothing could be written for so
	// long although there was something to write, and a closing handshake that
	// takes longer. Default 10s.
	WriteTimeout time.Duration `yaml:"write_timeout"`
	// DialTimeout bounds reaching the backend, from the dial to the whole head of
	// its answer to the handshake; beyond it the client gets 504. Default 5s.
	DialTimeout time.Duration `yaml:"dial_timeout"`
}

// DefaultLimits are the limits of a configuration that names none.
func DefaultLimits() Limits {
	return Limits{Message: 16 << 20, WriteTimeout: 10 * time.Second, DialTimeout: 5 * time.Second}
}

// Validate reports what is wrong with l, each fault as "key: what and remedy".
func (l Limits) Validate() error {
	var faults []error
	if l.Message < 0 {
		faults = append(faults, fmt.Errorf("message: %d must not be negative", l.Message))
	}
	if l.WriteTimeout <= 0 {
		faults = append(faults, fmt.Errorf("write_timeout: %v must be positive", l.WriteTimeout))
	}
	if l.DialTimeout <= 0 {
		faults = append(faults, fmt.Errorf("dial_timeout: %v must be positive", l.DialTimeout))
	}
	return errors.Join(faults...)
}

// orDefault fills in what is zero.
func (l Limits) orDefault() Limits {
	d := DefaultLimits()
	if l.Message == 0 {
		l.Message = d.Message
	}
	if l.WriteTimeout == 0 {
		l.WriteTimeout = d.WriteTimeout
	}
	if l.DialTimeout == 0 {
		l.DialTimeout = d.DialTimeout
	}
	return l
}
