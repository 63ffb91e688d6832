package certs

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// DefaultSubjectHeader is the header that tells the backend a client's subject.
const DefaultSubjectHeader = "X-Client-Subject"

// A ClientAuth asks clients for certificates. Its zero value asks for none.
type ClientAuth struct {
	// CA is a PEM file of the roots that clients' certificates must lead to, read
	// again when it changes; the system's roots count for nothing here. At most
	// 1 MiB, and 32 KiB of names, which each handshake tells. "": nobody is asked.
	CA string `yaml:"ca"`
	// Mode is require (the default: there is no handshake without a good one) or
	// request (a client may have none, but a bad one is refused).
	Mode string `yaml:"mode" enum:"require,request"`
	// Header tells the backend the subject of the client's certificate, and never
	// comes from a client. Default X-Client-Subject.
	Header string `yaml:"header"`
}

// On reports whether clients are asked.
func (a ClientAuth) On() bool { return a.CA != "" }

// orDefault fills in what is empty.
func (a ClientAuth) orDefault() ClientAuth {
	if a.Mode == "" {
		a.Mode = "require"
	}
	if a.Header == "" {
		a.Header = DefaultSubjectHeader
	}
	return a
}

// isSet reports whether anybody wrote something here.
func (a ClientAuth) isSet() bool { return a.orDefault() != ClientAuth{}.orDefault() }

// faults are what is wrong with a, each as "client_auth.key: what and remedy".
func (a ClientAuth) faults() (faults []error) {
	a = a.orDefault()
	if !a.On() && a.isSet() {
		faults = append(faults, errors.New("client_auth.ca: is missing; name the PEM file of the roots of clients' certificates"))
	}
	if a.Mode != "require" && a.Mode != "request" {
		faults = append(faults, fmt.Errorf("client_auth.mode: %q must be require or request", a.Mode))
	}
	if err := checkSubjectHeader(a.Header); err != nil {
		faults = append(faults, err)
	}
	return faults
}

// Headers that mean something to those between a client and a backend: in every
// spelling that CGI and its heirs read as the same.
var (
	takenHeaders = []string{
		"accept", "authorization", "connection", "cookie", "date", "expect", "forwarded", "host", "http2-settings",
		"keep-alive", "origin", "range", "referer", "te", "trailer", "trailers", "transfer-encoding", "upgrade", "user-agent", "via",
		"x-forwarded", "x-real-ip",
	}
	takenPrefixes = []string{"accept-", "access-control-", "content-", "if-", "proxy-", "sec-", "x-forwarded-", "x-sidecar-"}
)

func checkSubjectHeader(name string) error {
	const marks = "!#$%&'*+-.^_`|~"
	for _, c := range []byte(name) {
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && strings.IndexByte(marks, c) < 0 {
			return fmt.Errorf("client_auth.header: %q is no name of a header; take one such as %s", name, DefaultSubjectHeader)
		}
	}
	plain := strings.NewReplacer("_", "-", ".", "-").Replace(strings.ToLower(name))
	begins := func(prefix string) bool { return strings.HasPrefix(plain, prefix) }
	switch {
	case slices.Contains(takenHeaders, plain), slices.ContainsFunc(takenPrefixes, begins):
		return fmt.Errorf("client_auth.header: %q has another meaning already; take one such as %s", name, DefaultSubjectHeader)
	case len(name) > 64:
		return fmt.Errorf("client_auth.header: %q is longer than 64 characters", name)
	}
	return nil
}
