package certs

import (
	"errors"
	"fmt"
	"slices"
)

// Settings say how clients' TLS ends here.
type Settings struct {
	// Mode is off (the default), files (Cert and Key), acme (Domains and the
	// rest), or internal (certificates of our own making, for development).
	Mode string `yaml:"mode" enum:"off,files,acme,internal"`
	// HTTP is where the plain listener is that redirects to https, as host:port or
	// unix:/path; "off" or "" is none. Unused with mode off. Default ":80".
	HTTP string `yaml:"http"`
	// Loop relays connections with TLS, towards clients or wss backends, on epoll
	// loops where there are any. False: by two goroutines each, which takes more
	// memory and leans on nothing that crypto/tls does not document. Default true.
	Loop bool `yaml:"loop"`
	// Cert and Key are PEM files, read again when they change. Mode files only.
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
	// Domains are the names to get certificates for. Mode acme only.
	Domains []string `yaml:"domains"`
	// Email is where the certificate authority sends warnings. Mode acme only.
	Email string `yaml:"email"`
	// CA is the directory URL of the certificate authority. Default: Let's
	// Encrypt. Mode acme only.
	CA string `yaml:"ca"`
	// Storage is the directory that keeps keys and certificates. Modes acme and internal.
	Storage string `yaml:"storage"`
	// OnDemand gets a certificate at the first handshake for a name among
	// Domains and not at the start. Default false. Mode acme only.
	OnDemand bool `yaml:"on_demand"`
	// EAB is the account that a certificate authority may demand. Mode acme only.
	EAB EAB `yaml:"eab"`
}

// An EAB is a certificate authority's external account binding (RFC 8555 section 7.3.4).
type EAB struct {
	// KeyID is the account's name with the authority.
	KeyID string `yaml:"key_id"`
	// MAC is the account's key, base64url. It is a secret.
	MAC string `yaml:"mac" secret:"true"`
}

// Default are the settings of a configuration that names none.
func Default() Settings { return Settings{Mode: "off", HTTP: ":80", Loop: true} }

// On reports whether clients' TLS ends here at all.
func (s Settings) On() bool { return s.Mode != "off" }

// Redirects reports whether there is a plain listener that redirects to https.
func (s Settings) Redirects() bool { return s.On() && s.HTTP != "" && s.HTTP != "off" }

// Validate reports what is wrong with s, each fault as "key: what and remedy".
// Files are opened elsewhere.
func (s Settings) Validate() error {
	if !slices.Contains([]string{"off", "files", "acme", "internal"}, s.Mode) {
		return fmt.Errorf("mode: %q must be off, files, acme or internal", s.Mode)
	}
	faults := s.unused()
	switch {
	case s.Mode == "files" && (s.Cert == "" || s.Key == ""):
		faults = append(faults, errors.New("mode: files needs cert and key"))
	case s.Mode == "acme" && len(s.Domains) == 0:
		faults = append(faults, errors.New("mode: acme needs domains"))
	}
	if (s.EAB.KeyID == "") != (s.EAB.MAC == "") {
		faults = append(faults, errors.New("eab: key_id and mac must be set together"))
	}
	return errors.Join(faults...)
}

// unused reports settings that the mode does not look at: whoever wrote them
// believes that they do something.
func (s Settings) unused() []error {
	var faults []error
	for _, f := range []struct {
		key   string
		set   bool
		modes []string
	}{
		{"http", s.HTTP != Default().HTTP, []string{"files", "acme", "internal"}},
		{"cert", s.Cert != "", []string{"files"}},
		{"key", s.Key != "", []string{"files"}},
		{"domains", len(s.Domains) > 0, []string{"acme"}},
		{"email", s.Email != "", []string{"acme"}},
		{"ca", s.CA != "", []string{"acme"}},
		{"storage", s.Storage != "", []string{"acme", "internal"}},
		{"on_demand", s.OnDemand, []string{"acme"}},
		{"eab", s.EAB != EAB{}, []string{"acme"}},
	} {
		if f.set && !slices.Contains(f.modes, s.Mode) {
			faults = append(faults, fmt.Errorf("%s: has no effect with mode %s", f.key, s.Mode))
		}
	}
	return faults
}
