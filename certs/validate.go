package certs

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
)

// validateACME reports what is wrong with the settings that only mode acme has.
func (s Settings) validateACME() error {
	var faults []error
	if len(s.Domains) == 0 && !s.OnDemand.On() {
		faults = append(faults, errors.New("mode: acme needs domains or on_demand"))
	}
	faults = append(faults, s.validateDomains(checkPublic), s.validateChallenges(), s.OnDemand.validate())
	if s.CA != "" && !secureURL(s.CA) {
		faults = append(faults, fmt.Errorf("ca: %q is no https:// URL; write that of the authority's directory", s.CA))
	}
	if local, host, found := strings.Cut(s.Email, "@"); s.Email != "" && (!found || local == "" || checkName(normal(host)) != "" || strings.ContainsAny(local, " \t:,;<>")) {
		faults = append(faults, fmt.Errorf("email: %q is no address", s.Email))
	}
	return errors.Join(faults...)
}

func secureURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && u.Scheme == "https" && u.Host != ""
}

// validateDomains asks check what is wrong with each name; "" is nothing.
func (s Settings) validateDomains(check func(string) string) error {
	var faults []error
	names := make([]string, 0, len(s.Domains))
	for i, d := range s.Domains {
		name := canonical(d)
		if what := check(name); what != "" {
			faults = append(faults, fmt.Errorf("domains[%d]: %q %s", i, d, what))
		} else if slices.Contains(names, name) {
			faults = append(faults, fmt.Errorf("domains[%d]: %q is given twice", i, d))
		}
		names = append(names, name)
	}
	return errors.Join(faults...)
}

func checkPublic(name string) string {
	switch {
	case strings.HasPrefix(name, "*."):
		return "needs the challenge dns-01, which is not in this version; name each host, or use on_demand, or mode files"
	case net.ParseIP(name) != nil:
		return "is an address; certificates are got for names only"
	}
	return checkName(name)
}

func checkLocal(name string) string {
	if net.ParseIP(name) != nil {
		return ""
	}
	return checkName(strings.TrimPrefix(name, "*."))
}

func (s Settings) validateChallenges() error {
	if len(s.Challenges) == 0 {
		return errors.New("challenges: names none; write http-01, tls-alpn-01 or both")
	}
	for i, c := range s.Challenges {
		switch {
		case c != challengeHTTP && c != challengeALPN:
			return fmt.Errorf("challenges[%d]: %q must be http-01 or tls-alpn-01", i, c)
		case slices.Contains(s.Challenges[:i], c):
			return fmt.Errorf("challenges[%d]: %q is given twice", i, c)
		case c == challengeHTTP && !s.Redirects():
			return fmt.Errorf("challenges[%d]: http-01 is answered on http, which is off; give that an address, or leave http-01 out", i)
		}
	}
	return nil
}

func (o OnDemand) validate() error {
	var faults []error
	for i, a := range o.Allow {
		if what := checkName(strings.TrimPrefix(normal(a), "*.")); what != "" {
			faults = append(faults, fmt.Errorf("on_demand.allow[%d]: %q %s", i, a, what))
		}
	}
	if o.Ask == "" {
		return errors.Join(faults...)
	}
	u, err := url.Parse(o.Ask)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Fragment != "" {
		faults = append(faults, fmt.Errorf("on_demand.ask: %q is no URL to ask; write http:// or https:// and a host", o.Ask))
	}
	return errors.Join(faults...)
}
