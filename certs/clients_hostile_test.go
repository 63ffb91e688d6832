package certs

import (
	"crypto/tls"
	"crypto/x509"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sidecar/test/authority"
)

// shows makes a client show cert, whatever the server has named.
func (g *guarded) shows(version uint16, cert tls.Certificate) *tls.Config {
	conf := g.client()
	conf.MaxVersion = version
	conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
	return conf
}

var versions = []uint16{tls.VersionTLS12, tls.VersionTLS13}

// What leads to a root, and what only looks like it.
func TestChains(t *testing.T) {
	root := authority.Named(t, "root")
	below := root.Below(t, "below", time.Hour)
	deep := below.Below(t, "deep", time.Hour)
	alone := deep.Client(t, "alice")
	alone.Certificate = alone.Certificate[:1]
	ended := root.Below(t, "ended", -time.Minute)
	longest := below.Client(t, "alice")
	for range 60 { // each a path to look along
		longest.Certificate = append(longest.Certificate, root.Below(t, "below", time.Hour).Client(t, "x").Certificate[1])
	}
	huge := below.Client(t, "alice")
	huge.Certificate = append(huge.Certificate, make([]byte, 300<<10))
	client := root.Client(t, "no authority")
	leaf, err := x509.ParseCertificate(client.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		cert tls.Certificate
		want string // "": let in
	}{
		"by an authority below":        {below.Client(t, "alice"), ""},
		"by two":                       {deep.Client(t, "alice"), ""},
		"with sixty of the same name":  {longest, ""},
		"those between not shown":      {alone, "unknown authority"},
		"by an authority that expired": {ended.Client(t, "alice"), "expired"},
		"not valid yet": {root.ClientWith(t, func(c *x509.Certificate) {
			c.NotBefore = time.Now().Add(time.Hour)
		}), "expired or is not yet valid"},
		"signed by SHA-1": {root.ClientWith(t, func(c *x509.Certificate) {
			c.SignatureAlgorithm = x509.ECDSAWithSHA1
		}), "unknown authority"},
		"for any use":               {root.ClientWith(t, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} }), ""},
		"for none":                  {root.ClientWith(t, func(c *x509.Certificate) { c.ExtKeyUsage = nil }), ""},
		"for signing programs":      {root.ClientWith(t, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning} }), "incompatible key usage"},
		"by one that may sign none": {root.As(t, leaf, client).Client(t, "alice"), "unknown authority"},
		"too long to read":          {huge, "handshake message of length"},
	} {
		for _, mode := range []string{"require", "request"} {
			g := newGuarded(t, ClientAuth{CA: authority.Roots(t, root), Mode: mode})
			for _, version := range versions {
				s, _, err := g.meet(g.shows(version, c.cert))
				if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
					t.Errorf("%s, mode %s, %s: %v; want %q", name, mode, tls.VersionName(version), err, c.want)
				}
				if _, ok, err := g.Terms().Subject(&s); c.want == "" && (!ok || err != nil) {
					t.Errorf("%s, mode %s, %s: its connection is told %v, %v", name, mode, tls.VersionName(version), ok, err)
				}
			}
			g.Close()
		}
	}
}

// A certificate ends on connections that live, too.
func TestACertificateEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours := authority.New(t)
		g := newGuarded(t, ClientAuth{CA: authority.Roots(t, ours)})
		g.pipe = true
		defer g.Close()
		s, _, err := g.meet(g.client(ours.ClientOf(t, time.Hour, authority.Subject(t, nil))))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(59 * time.Minute)
		if _, ok, err := g.Terms().Subject(&s); !ok || err != nil {
			t.Errorf("before its end: %v, %v", ok, err)
		}
		time.Sleep(2 * time.Minute)
		if _, _, err := g.Terms().Subject(&s); err != errExpired {
			t.Errorf("after its end: %v; want %v", err, errExpired)
		}
	})
}

// So does what has signed it, though the certificate itself would go on.
func TestAnAuthorityBelowARootEnds(t *testing.T) {
	for _, version := range versions {
		synctest.Test(t, func(t *testing.T) {
			root := authority.New(t)
			g := newGuarded(t, ClientAuth{CA: authority.Roots(t, root)})
			g.pipe = true
			defer g.Close()
			conf := g.shows(version, root.Below(t, "below", time.Hour).Client(t, "alice"))
			s, _, err := g.meet(conf)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(59 * time.Minute)
			if _, ok, err := g.Terms().Subject(&s); !ok || err != nil {
				t.Errorf("before its end: %v, %v", ok, err)
			}
			time.Sleep(2 * time.Minute)
			if _, _, err := g.Terms().Subject(&s); err != errExpired {
				t.Errorf("after its end: %v; want %v", err, errExpired)
			}
			if _, _, err := g.meet(conf); err == nil {
				t.Error("a new connection is let in")
			}
		})
	}
}

// New terms count for a handshake that is under way: not in it, but for what comes of it.
func TestNewTermsInMidHandshake(t *testing.T) {
	ours, others := authority.Named(t, "ours"), authority.Named(t, "others")
	alice := ours.Client(t, "alice")
	for name, c := range map[string]struct {
		before, after ClientAuth
		want          error
	}{
		"other roots":     {ClientAuth{CA: authority.Roots(t, ours)}, ClientAuth{CA: authority.Roots(t, others)}, errRoots},
		"more of them":    {ClientAuth{CA: authority.Roots(t, ours)}, ClientAuth{CA: authority.Roots(t, others, ours)}, nil},
		"nobody is asked": {ClientAuth{CA: authority.Roots(t, ours)}, ClientAuth{}, nil},
	} {
		g := newGuarded(t, c.before)
		use, err := g.Prepare(c.after)
		if err != nil {
			t.Fatal(err)
		}
		conf := g.client()
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			use()
			return &alice, nil
		}
		s, _, err := g.meet(conf)
		if err != nil {
			t.Errorf("%s: %v; want the handshake to end as it began", name, err)
		}
		if terms := g.Terms(); terms != nil {
			if _, _, err := terms.Subject(&s); err != c.want {
				t.Errorf("%s: its connection is told %v; want %v", name, err, c.want)
			}
		}
		g.Close()
	}
}

// While roots and demands change all the time, a handshake that begins after a change
// is under the new ones: what handshakes share is never that of before.
func TestTermsChangeBesideHandshakes(t *testing.T) {
	ours, others := authority.Named(t, "ours"), authority.Named(t, "others")
	both, one := ClientAuth{CA: authority.Roots(t, ours, others)}, ClientAuth{CA: authority.Roots(t, ours)}
	g := newGuarded(t, both)
	defer g.Close()
	alice, bob := ours.Client(t, "alice"), others.Client(t, "bob")
	stop := make(chan struct{})
	var beside sync.WaitGroup
	for range 2 {
		beside.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, _, err := g.meet(g.shows(tls.VersionTLS13, alice)); err != nil {
					t.Errorf("alice, whose root is always there: %v", err)
					return
				}
			}
		})
	}
	for i := range 40 {
		a := both
		if i%2 == 1 {
			a = one
		}
		if i%3 == 0 {
			a.Mode = "request"
		}
		use, err := g.Prepare(a)
		if err != nil {
			t.Fatal(err)
		}
		use()
		if _, _, err := g.meet(g.shows(tls.VersionTLS13, bob)); (err == nil) != (a.CA == both.CA) {
			t.Errorf("bob, change %d: %v", i, err)
		}
		if _, _, err := g.meet(g.client()); (err == nil) != (a.Mode == "request") {
			t.Errorf("nobody, change %d: %v", i, err)
		}
	}
	close(stop)
	beside.Wait()
}
