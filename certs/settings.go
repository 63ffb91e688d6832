package certs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Settings say how clients' TLS ends here.
type Settings struct {
	// Mode is off (the default), files (Cert and Key), acme (Domains, OnDemand and
	// the rest), or internal (a local authority of our own, for development).
	Mode string `yaml:"mode" enum:"off,files,acme,internal"`
	// HTTP is where the plain listener is that redirects to https, and answers
	// challenges of the kind http-01, as host:port or unix:/path; "off" or "" is
	// none. Unused with mode off. Default ":80".
	HTTP string `yaml:"http"`
	// Loop relays connections with TLS, towards clients or wss backends, on epoll
	// loops where there are any. False: by two goroutines each, which takes more
	// memory and leans on nothing that crypto/tls does not document. Default true.
	Loop bool `yaml:"loop"`
	// Cert and Key are PEM files, as many of the one as of the other, read again
	// when they change. Among several the client's server name chooses; where none
	// fits it gets the first. Mode files only.
	Cert []string `yaml:"cert"`
	Key  []string `yaml:"key"`
	// Domains are the names to have certificates for from the start; with mode
	// internal also addresses and names beginning with "*.", and by default
	// localhost, 127.0.0.1 and ::1.
	Domains []string `yaml:"domains"`
	// Email is where the authority sends warnings. Mode acme only.
	Email string `yaml:"email"`
	// CA is the directory URL of the authority (RFC 8555 section 7.1.1). Default:
	// Let's Encrypt. Mode acme only.
	CA string `yaml:"ca"`
	// CARoots is a PEM file of roots to trust for the authority's own TLS, beside
	// the system's. Mode acme only.
	CARoots string `yaml:"ca_roots"`
	// Storage is the directory that keeps keys and certificates; see Dir. Modes
	// acme and internal.
	Storage string `yaml:"storage"`
	// Challenges are the ways to prove that a name is ours: http-01 (RFC 8555
	// section 8.3), which needs HTTP, and tls-alpn-01 (RFC 8737). Default: both.
	// Mode acme only.
	Challenges []string `yaml:"challenges" enum:"http-01,tls-alpn-01"`
	// OnDemand gets certificates at the first handshake for a name. Mode acme only.
	OnDemand OnDemand `yaml:"on_demand"`
	// EAB is the account that an authority may demand. Mode acme only.
	EAB EAB `yaml:"eab"`
	// ClientAuth asks clients for certificates. Not with mode off.
	ClientAuth ClientAuth `yaml:"client_auth"`
}

// OnDemand says for which names beside Domains a handshake may get a certificate.
// The zero value is for none.
type OnDemand struct {
	// Allow are names, or "*.example.com" for any name one label below. Default:
	// any, and Ask alone judges.
	Allow []string `yaml:"allow"`
	// Ask is a URL that is asked, with ?domain=NAME added, about each name that
	// Allow lets through; it has one second to answer 2xx. Default: nobody is asked.
	Ask string `yaml:"ask"`
}

// On reports whether there are certificates on demand at all.
func (o OnDemand) On() bool { return len(o.Allow) > 0 || o.Ask != "" }

// An EAB is an authority's external account binding (RFC 8555 section 7.3.4).
type EAB struct {
	// KeyID is the account's name with the authority.
	KeyID string `yaml:"key_id"`
	// MAC is the account's key, base64url. It is a secret.
	MAC string `yaml:"mac" secret:"true"`
}

const (
	modeFiles    = "files"
	modeACME     = "acme"
	modeInternal = "internal"

	challengeHTTP = "http-01"
	challengeALPN = "tls-alpn-01"
)

// Default are the settings of a configuration that names none.
func Default() Settings {
	return Settings{
		Mode: "off", HTTP: ":80", Loop: true, Challenges: []string{challengeHTTP, challengeALPN},
		ClientAuth: ClientAuth{}.orDefault(),
	}
}

// On reports whether clients' TLS ends here at all.
func (s Settings) On() bool { return s.Mode != "off" }

// Redirects reports whether there is a plain listener that redirects to https.
func (s Settings) Redirects() bool { return s.On() && s.HTTP != "" && s.HTTP != "off" }

// Managed reports whether certificates are got and renewed here, and not by who
// writes the files.
func (s Settings) Managed() bool { return s.Mode == modeACME || s.Mode == modeInternal }

// Names are the Domains in lower case, or their default.
func (s Settings) Names() []string {
	if s.Mode == modeInternal && len(s.Domains) == 0 {
		return []string{"localhost", "127.0.0.1", "::1"}
	}
	var all []string
	for _, d := range s.Domains {
		all = append(all, canonical(d))
	}
	return all
}

// Dir is the directory of Storage: as set, else the first of $STATE_DIRECTORY (which
// systemd sets), else sidecar in $XDG_DATA_HOME, else .local/share/sidecar in $HOME.
func (s Settings) Dir() (string, error) {
	if s.Storage != "" {
		return s.Storage, nil
	}
	first, _, _ := strings.Cut(os.Getenv("STATE_DIRECTORY"), ":")
	for _, d := range [][]string{{first}, {os.Getenv("XDG_DATA_HOME"), "sidecar"}, {os.Getenv("HOME"), ".local", "share", "sidecar"}} {
		if d[0] != "" {
			return filepath.Join(d...), nil
		}
	}
	return "", errors.New("tls.storage: there is no default, since HOME is not set; name a directory that outlives the program")
}

// Validate reports what is wrong with s, each fault as "key: what and remedy".
// Files are opened elsewhere.
func (s Settings) Validate() error {
	if !slices.Contains([]string{"off", modeFiles, modeACME, modeInternal}, s.Mode) {
		return fmt.Errorf("mode: %q must be off, files, acme or internal", s.Mode)
	}
	faults := s.unused()
	switch s.Mode {
	case modeFiles:
		faults = append(faults, s.validateFiles())
	case modeACME:
		faults = append(faults, s.validateACME())
	case modeInternal:
		faults = append(faults, s.validateDomains(checkLocal))
	}
	if (s.EAB.KeyID == "") != (s.EAB.MAC == "") {
		faults = append(faults, errors.New("eab: key_id and mac must be set together"))
	}
	return errors.Join(append(faults, s.ClientAuth.faults()...)...)
}

func (s Settings) validateFiles() error {
	switch {
	case len(s.Cert) == 0 || len(s.Key) == 0, slices.Contains(s.Cert, ""), slices.Contains(s.Key, ""):
		return errors.New("mode: files needs cert and key")
	case len(s.Cert) != len(s.Key):
		return fmt.Errorf("key: %d are named for %d of cert; name one for each, in the same order", len(s.Key), len(s.Cert))
	}
	return nil
}

// unused reports settings that the mode does not look at: whoever wrote them
// believes that they do something.
func (s Settings) unused() []error {
	var faults []error
	acme := []string{modeACME}
	for _, f := range []struct {
		key   string
		set   bool
		modes []string
	}{
		{"http", s.HTTP != Default().HTTP, []string{modeFiles, modeACME, modeInternal}},
		{"cert", len(s.Cert) > 0, []string{modeFiles}},
		{"key", len(s.Key) > 0, []string{modeFiles}},
		{"domains", len(s.Domains) > 0, []string{modeACME, modeInternal}},
		{"email", s.Email != "", acme},
		{"ca", s.CA != "", acme},
		{"ca_roots", s.CARoots != "", acme},
		{"storage", s.Storage != "", []string{modeACME, modeInternal}},
		{"challenges", !slices.Equal(s.Challenges, Default().Challenges), acme},
		{"on_demand", s.OnDemand.On(), acme},
		{"eab", s.EAB != EAB{}, acme},
		{"client_auth", s.ClientAuth.isSet(), []string{modeFiles, modeACME, modeInternal}},
	} {
		if f.set && !slices.Contains(f.modes, s.Mode) {
			faults = append(faults, fmt.Errorf("%s: has no effect with mode %s", f.key, s.Mode))
		}
	}
	return faults
}
