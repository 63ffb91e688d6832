// Package certs will keep a tls.Config fresh by certmagic. For now it declares
// the settings; only mode "off" can be asked for.
package certs

// Settings say how clients' TLS ends here.
type Settings struct {
	// Mode is off (the default), files, acme or internal.
	Mode string `yaml:"mode"`
	// HTTP is the plain listener that redirects and answers HTTP-01. Default ":80".
	HTTP     string   `yaml:"http"`
	Cert     string   `yaml:"cert"`
	Key      string   `yaml:"key"`
	Domains  []string `yaml:"domains"`
	Email    string   `yaml:"email"`
	CA       string   `yaml:"ca"`
	Storage  string   `yaml:"storage"`
	OnDemand bool     `yaml:"on_demand"`
	EAB      EAB      `yaml:"eab"`
}

// An EAB is a certificate authority's external account binding.
type EAB struct {
	KeyID string `yaml:"key_id"`
	MAC   string `yaml:"mac" secret:"true"`
}
