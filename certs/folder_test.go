package certs_test

import (
	"crypto/tls"
	"log/slog"
	"strings"
	"testing"

	"sidecar/certs"
	"sidecar/test/authority"
)

// Of several pairs the server name chooses; where none fits it is the first.
func TestTheServerNameChoosesThePair(t *testing.T) {
	ca := authority.New(t)
	one, two := ca.Files(t, "one.example"), ca.Files(t, "two.example", "*.wild.example")
	s := certs.Default()
	s.Mode, s.Cert, s.Key = "files", []string{one.Cert, two.Cert}, []string{one.Key, two.Key}
	c, err := certs.Start(s, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for sni, want := range map[string]string{"one.example": "one.example", "two.example": "two.example", "a.wild.example": "two.example", "other.example": "one.example", "": "one.example"} {
		got, err := c.TLSConfig().GetCertificate(&tls.ClientHelloInfo{ServerName: sni})
		if err != nil || got.Leaf.DNSNames[0] != want {
			t.Errorf("%q: got %v, %v; want %s", sni, got.Leaf.DNSNames, err, want)
		}
	}
	if !c.Serves("one.example") || !c.Serves("x.wild.example") || c.Serves("x.example") || len(c.Certificates()) != 2 {
		t.Errorf("it serves %v", c.Certificates())
	}
	s.Key[1] = one.Key
	if _, err := c.Prepare(s); err == nil || !strings.Contains(err.Error(), "does not belong") {
		t.Errorf("a faulty second pair: %v", err)
	}
}
