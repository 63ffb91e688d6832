package certs

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/mholt/acmez/v3/acme"
)

// event is what certmagic tells of orders, ours and those of its own renewals.
func (m *managed) event(ctx context.Context, event string, data map[string]any) error {
	name, _ := data["identifier"].(string)
	renewal, _ := data["renewal"].(bool)
	switch event {
	case "cert_obtaining":
		m.env.Log.Info(either(renewal, "renewing a certificate", "ordering a certificate"), "name", name, "authority", m.authority)
	case "cert_obtained":
		m.obtained(ctx, name, renewal, data)
	case "cert_failed":
		if err, _ := data["error"].(error); err != nil && ctx.Value(effortKey{}) == nil && ctx.Err() == nil {
			m.notRenewed(name, err)
		}
	}
	return nil
}

func either(first bool, a, b string) string {
	if first {
		return a
	}
	return b
}

func (m *managed) obtained(ctx context.Context, name string, renewal bool, data map[string]any) {
	log := m.env.Log.With("name", name, "authority", m.authority)
	if e, ok := ctx.Value(effortKey{}).(*effort); ok {
		log = log.With("took", time.Since(e.start).Round(time.Millisecond))
	}
	if key, _ := data["certificate_path"].(string); key != "" {
		if leaf := m.stored(ctx, key); leaf != nil {
			log = log.With("expires", leaf.NotAfter)
		}
	}
	m.note(name, nil)
	if ctx.Value(effortKey{}) == nil { // certmagic's own renewal, which has no event for its end
		if _, err := m.load(ctx, m.steady, name); err != nil && ctx.Err() == nil {
			log.Warn("the new certificate cannot be used; the old one goes on", "err", err)
		}
	}
	if renewal {
		m.env.Renewed()
		log.Info("certificate renewed")
		return
	}
	log.Info("certificate obtained")
}

// stored is the leaf in storage, nil if it cannot be read.
func (m *managed) stored(ctx context.Context, key string) *x509.Certificate {
	text, err := m.store.Load(ctx, key)
	if err != nil {
		return nil
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil
	}
	return leaf
}

// notRenewed is for renewals of certmagic's own, which tries them again by itself.
func (m *managed) notRenewed(name string, err error) {
	m.env.Failed("renew")
	m.note(name, err)
	log := m.env.Log.With("name", name, "authority", m.authority, "err", plain(err), "do", remedy(err))
	if c, found := m.hot.exact(name); found {
		log = log.With("expires", c.Leaf.NotAfter)
	}
	log.Warn("could not renew a certificate; the old one goes on until it expires, and it is tried again")
}

// plain is what is wrong, without what the log has in attributes already.
func plain(err error) string {
	var p acme.Problem
	if !errors.As(err, &p) {
		return err.Error()
	}
	text := p.Detail
	for _, sub := range p.Subproblems {
		text += "; " + sub.Detail
	}
	return fmt.Sprintf("%s (%s, status %d)", strings.TrimPrefix(text, "; "), kind(p), p.Status)
}

// kind is the last part of a problem's type (RFC 8555 section 6.7).
func kind(p acme.Problem) string { return strings.TrimPrefix(p.Type, acme.ProblemTypeNamespace) }

// remedies are what an operator can do about a problem, by its kind.
var remedies = map[string]string{
	"caa":                     "allow this authority in the CAA record of the name",
	"externalAccountRequired": "set tls.eab to the account that the authority gave you",
	"invalidContact":          "set tls.email to an address that the authority takes",
	"rateLimited":             "wait: the authority has had too many orders; see its limits",
	"rejectedIdentifier":      "take the name out of tls.domains: the authority has no certificates for it",
	"userActionRequired":      "agree to the authority's terms, as its answer says",
}

func init() {
	for _, k := range []string{"unauthorized", "connection", "dns", "tls", "incorrectResponse", "malformed"} {
		remedies[k] = "see that the name's DNS leads here, and that from outside port 80 leads to tls.http (http-01) and port 443 to listen (tls-alpn-01)"
	}
}

// remedy is what an operator can do about err.
func remedy(err error) string {
	var p acme.Problem
	var unknown x509.UnknownAuthorityError
	var network net.Error
	switch {
	case errors.As(err, &p) && remedies[kind(p)] != "":
		return remedies[kind(p)]
	case errors.Is(err, errEnded):
		return "see that the clock is right"
	case errors.As(err, &unknown):
		return "name the roots of the authority's own certificate in tls.ca_roots"
	case errors.As(err, &network):
		return "see that tls.ca is right and can be reached from here"
	case strings.Contains(err.Error(), "storage"), strings.Contains(err.Error(), "lock"):
		return "see that tls.storage is there and can be read and written"
	}
	return "see what the authority says"
}
