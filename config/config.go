// Package config reads sidecar.yaml, the environment and the flags into one
// checked Config. The settings themselves are declared by the packages that obey
// them; this package only composes them.
package config

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"sidecar/access"
	"sidecar/admin"
	"sidecar/certs"
	"sidecar/heartbeat"
	"sidecar/polling"
	"sidecar/protocol/engineio"
	"sidecar/protocol/resume"
	"sidecar/protocol/socketio"
	"sidecar/protocol/sockjs"
	"sidecar/proxy"
	"sidecar/session"
)

// A Config is everything that can be set. Load makes one.
type Config struct {
	// Listen is where clients come in: host:port, or unix:/path for a socket.
	// Several may be given. Default ":8080".
	Listen []string `yaml:"listen"`
	// Upstream is short for one route "/", and catches what no route does.
	Upstream proxy.Upstream `yaml:"upstream"`
	Routes   []Route        `yaml:"routes"`
	// TrustedProxies are addresses or CIDR prefixes. Default none.
	TrustedProxies []string `yaml:"trusted_proxies"`
	// ProxyProtocol demands a PROXY protocol header, v1 or v2, of every
	// connection from a trusted proxy. The protocol forbids guessing. Default false.
	ProxyProtocol bool `yaml:"proxy_protocol"`
	Sections      `yaml:",inline"`
	// SessionMemory bounds what the sessions of all routes hold together.
	SessionMemory session.Memory `yaml:"session_memory"`
	TLS           certs.Settings `yaml:"tls"`
	Drain         Drain          `yaml:"drain"`
	Ops           admin.Settings `yaml:"ops"`
	Log           Log            `yaml:"log"`

	// File is the file that was read, "" for none.
	File string `yaml:"-"`
}

// Sections are the settings that a route may override.
type Sections struct {
	// Protocols are what clients may speak, of "websocket", "resume", "engineio" and "http",
	// in this version. Default: websocket, resume and http.
	Protocols []string          `yaml:"protocols"`
	Origins   access.Origins    `yaml:"origins"`
	Heartbeat heartbeat.Policy  `yaml:"heartbeat"`
	Session   session.Settings  `yaml:"session"`
	Resume    resume.Settings   `yaml:"resume"`
	EngineIO  engineio.Settings `yaml:"engineio"`
	SocketIO  socketio.Settings `yaml:"socketio"`
	SockJS    sockjs.Settings   `yaml:"sockjs"`
	Limits    Limits            `yaml:"limits"`
}

// A Route sends what comes to one path prefix, on one host or any, to one upstream.
type Route struct {
	// Path is a prefix, compared by whole segments, the longest first, with the
	// request's path as clients send it. It begins with a slash, has no empty or
	// dot segment and no query, and is escaped where a URL must be. Default "/".
	Path string `yaml:"path"`
	// Host is compared without port and without regard to case. Default: any.
	Host     string         `yaml:"host"`
	Upstream proxy.Upstream `yaml:"upstream"`
	Sections `yaml:",inline"`
}

// Name is the route's name in logs and metrics: host and path as configured.
func (r Route) Name() string { return r.Host + r.Path }

// Limits are all bounds, each declared by the package that keeps it.
type Limits struct {
	Access  access.Limits  `yaml:",inline"`
	Proxy   proxy.Limits   `yaml:",inline"`
	Polling polling.Limits `yaml:",inline"`
	// HeaderTimeout is what a client has to send a request's head, and a trusted
	// proxy its PROXY header. It belongs to the listener: a route cannot override
	// it. Default 5s; must be positive.
	HeaderTimeout time.Duration `yaml:"header_timeout"`
}

// Validate reports what is wrong with l, each fault as "key: what and remedy".
func (l Limits) Validate() error {
	var own error
	if l.HeaderTimeout <= 0 {
		own = fmt.Errorf("header_timeout: %v must be positive", l.HeaderTimeout)
	}
	return errors.Join(l.Access.Validate(), l.Proxy.Validate(), l.Polling.Validate(), own)
}

// Drain says how the program stops.
type Drain struct {
	// Delay is how long readiness says 503 while clients still come in, because
	// load balancers learn late. Default 0s; must not be negative.
	Delay time.Duration `yaml:"delay"`
	// For bounds the rest: closes are spread over 0.8 of it, and what is left at
	// its end is cut. Default 10s; 0s cuts at once.
	For time.Duration `yaml:"for"`
}

// Validate reports what is wrong with d, each fault as "key: what and remedy".
func (d Drain) Validate() error {
	var faults []error
	if d.Delay < 0 {
		faults = append(faults, fmt.Errorf("delay: %v must not be negative", d.Delay))
	}
	if d.For < 0 {
		faults = append(faults, fmt.Errorf("for: %v must not be negative", d.For))
	}
	return errors.Join(faults...)
}

// Log says what is logged.
type Log struct {
	// Level is debug, info, warn or error. Default info.
	Level slog.Level `yaml:"level" enum:"debug,info,warn,error"`
	// Format is text, json or auto: text on a terminal, JSON elsewhere. Default auto.
	Format string `yaml:"format" enum:"auto,text,json"`
}

// Validate reports what is wrong with l, each fault as "key: what and remedy".
func (l Log) Validate() error {
	var faults []error
	if !slices.Contains([]slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError}, l.Level) {
		faults = append(faults, fmt.Errorf("level: %v must be debug, info, warn or error", l.Level))
	}
	if !slices.Contains([]string{"auto", "text", "json"}, l.Format) {
		faults = append(faults, fmt.Errorf("format: %q must be auto, text or json", l.Format))
	}
	return errors.Join(faults...)
}
