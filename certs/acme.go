package certs

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
	"go.uber.org/zap"
)

// roots are those that the authority's own TLS is checked by, nil for the system's.
func (s Settings) roots() (*x509.CertPool, error) {
	if s.CARoots == "" {
		return nil, nil
	}
	text, err := readFile("tls.ca_roots", s.CARoots, "name the PEM file of the authority's roots")
	if err != nil {
		return nil, err
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // there are none here
	}
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("tls.ca_roots: %q holds no certificate; name the PEM file of the authority's roots", s.CARoots)
	}
	return pool, nil
}

// mac is the key of the EAB as acmez wants it: without what fills up its last byte.
func (e EAB) mac() (string, error) {
	text := strings.TrimRight(e.MAC, "=")
	if _, err := base64.RawURLEncoding.DecodeString(text); err != nil {
		return "", errors.New("tls.eab.mac: it is not base64url (letters, digits, - and _); copy it as the authority shows it")
	}
	return text, nil
}

// directory is the URL of the authority that s names.
func (s Settings) directory() string { return cmp.Or(s.CA, certmagic.LetsEncryptProductionCA) }

// newACME is certmagic's issuer for s. It believes that another listener answers the
// challenges: that is what it finds at taken.
func newACME(s Settings, config *certmagic.Config, taken net.Addr, log *zap.Logger) (*certmagic.ACMEIssuer, error) {
	roots, err := s.roots()
	if err != nil {
		return nil, err
	}
	mac, err := s.EAB.mac()
	if err != nil {
		return nil, err
	}
	at := taken.(*net.TCPAddr)
	issuer := certmagic.ACMEIssuer{
		CA: s.directory(), Agreed: true, TrustedRoots: roots, Logger: log,
		// An empty address would make certmagic look for any other that the process
		// or the storage knows, and ask on the terminal in the end. It trims this one.
		Email:                   cmp.Or(s.Email, " "),
		DisableHTTPChallenge:    !slices.Contains(s.Challenges, challengeHTTP),
		DisableTLSALPNChallenge: !slices.Contains(s.Challenges, challengeALPN),
		ListenHost:              at.IP.String(), AltHTTPPort: at.Port, AltTLSALPNPort: at.Port,
	}
	if s.EAB != (EAB{}) {
		issuer.ExternalAccount = &acme.EAB{KeyID: s.EAB.KeyID, MACKey: mac}
	}
	return certmagic.NewACMEIssuer(config, issuer), nil
}

// A decoy is a listener that does nothing. For each challenge certmagic opens a
// listener of its own, unless there is one: then it dials that, and trusts it to
// answer. Our listeners do answer, but are at any address or a unix socket, behind
// any mapping of ports; so it is pointed at this one, which is always there.
type decoy struct {
	net.Listener
	ended chan struct{}
}

func newDecoy() (decoy, error) {
	var faults []error
	for _, at := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := net.Listen("tcp", at)
		if err == nil {
			d := decoy{l, make(chan struct{})}
			go d.turnAway()
			return d, nil
		}
		faults = append(faults, err)
	}
	return decoy{}, fmt.Errorf("listening on the loopback address: %w", errors.Join(faults...))
}

// turnAway closes whatever comes, until the listener is closed.
func (d decoy) turnAway() {
	defer close(d.ended)
	for {
		c, err := d.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // there are no descriptors; who waits here would have us spin
			<-time.After(100 * time.Millisecond)
		default:
			_ = c.Close()
		}
	}
}

func (d decoy) close() {
	if d.Listener != nil {
		_ = d.Close()
		<-d.ended
	}
}

// isChallenge reports whether a handshake is of an authority that looks for the
// answer to tls-alpn-01 (RFC 8737 section 3).
func isChallenge(h *tls.ClientHelloInfo) bool {
	return len(h.SupportedProtos) == 1 && h.SupportedProtos[0] == acmez.ACMETLS1Protocol
}

// hostOf is the host of a request in its normal form, "" for what is no name.
func hostOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	if host = normal(host); checkName(host) != "" {
		return ""
	}
	return host
}
