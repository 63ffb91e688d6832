package certs

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"sidecar/test/authority"
)

var (
	cn    = asn1.ObjectIdentifier{2, 5, 4, 3}
	ou    = asn1.ObjectIdentifier{2, 5, 4, 11}
	mail  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}
	given = asn1.ObjectIdentifier{2, 5, 4, 42}
)

// one is a part of a name with one attribute.
func one(typ asn1.ObjectIdentifier, value any) pkix.RelativeDistinguishedNameSET {
	return pkix.RelativeDistinguishedNameSET{{Type: typ, Value: value}}
}

func TestSubjects(t *testing.T) {
	two := append(one(cn, "a"), one(ou, "b")...)
	for _, c := range []struct {
		name    string
		subject pkix.RDNSequence
		want    string
	}{
		{"empty", pkix.RDNSequence{}, ""},
		{"one", pkix.RDNSequence{one(cn, "alice")}, "CN=alice"},
		{"the last first", pkix.Name{Country: []string{"SE"}, Organization: []string{"Acme"}, CommonName: "alice"}.ToRDNSequence(), "CN=alice,O=Acme,C=SE"},
		{"several in a part", pkix.RDNSequence{two}, "CN=a+OU=b"},
		{"two common names", pkix.RDNSequence{one(cn, "admin"), one(cn, "user")}, "CN=user,CN=admin"},
		{"commas and quotes", pkix.RDNSequence{one(cn, `a,O=evil+"x";<y>\`)}, `CN=a\,O=evil\+\"x\"\;\<y\>\\`},
		{"an equals sign", pkix.RDNSequence{one(cn, "a=b")}, "CN=a=b"},
		{"blanks and a number sign", pkix.RDNSequence{one(cn, " a # "), one(ou, "#b"), one(ou, " ")}, `OU=\20,OU=\#b,CN=\20a #\20`},
		{"controls", pkix.RDNSequence{one(cn, "a\r\nX-Evil: 1\x00\t\x1b\x7f")}, `CN=a\0D\0AX-Evil: 1\00\09\1B\7F`},
		{"UTF-8", pkix.RDNSequence{one(cn, "Jörg 😀")}, "CN=J%C3%B6rg %F0%9F%98%80"},
		{"a C1 control", pkix.RDNSequence{one(cn, "a\u0085b")}, "CN=a%C2%85b"},
		{"percent signs", pkix.RDNSequence{one(cn, "100%0A%")}, "CN=100%250A%25"},
		{"a type without a short name", pkix.RDNSequence{one(given, "a")}, "2.5.4.42=#130161"},
		{"mail", pkix.RDNSequence{one(mail, "a@b.c")}, "1.2.840.113549.1.9.1=#0c056140622e63"},
		{"no string", pkix.RDNSequence{one(cn, 5)}, "CN=#020105"},
		{"a string of two bytes a letter", pkix.RDNSequence{one(cn, asn1.RawValue{Tag: asn1.TagBMPString, Bytes: []byte{0, 'a'}})}, "CN=#1e020061"},
		{"what is UTF-8 by its tag only", pkix.RDNSequence{one(cn, asn1.RawValue{Tag: asn1.TagUTF8String, Bytes: []byte{0xff}})}, "CN=#0c01ff"},
	} {
		got, err := subjectOf(&x509.Certificate{RawSubject: authority.Subject(t, c.subject)})
		if err != nil || got != c.want {
			t.Errorf("%s: %q, %v; want %q", c.name, got, err, c.want)
		}
	}
}

func TestSubjectsThatAreRefused(t *testing.T) {
	whole := authority.Subject(t, pkix.RDNSequence{one(cn, "a")})
	longest := pkix.RDNSequence{one(cn, strings.Repeat("a", maxSubject-len("CN=")))}
	if _, err := subjectOf(&x509.Certificate{RawSubject: authority.Subject(t, longest)}); err != nil {
		t.Errorf("%d bytes: %v", maxSubject, err)
	}
	longest[0][0].Value = longest[0][0].Value.(string) + "a"
	for name, c := range map[string]struct {
		der  []byte
		want string
	}{
		"no DER":       {[]byte("x"), "reading subject of client certificate: asn1: "},
		"cut off":      {whole[:len(whole)-1], "reading subject of client certificate: asn1: "},
		"more behind":  {append(whole, 5, 0), "reading subject of client certificate: 2 bytes are left over"},
		"a byte more":  {authority.Subject(t, longest), "subject of client certificate takes 2049 bytes; at most 2048"},
		"escapes also": {authority.Subject(t, pkix.RDNSequence{one(cn, strings.Repeat("é", 700))}), "takes 4203 bytes"},
	} {
		if _, err := subjectOf(&x509.Certificate{RawSubject: c.der}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %q", name, err, c.want)
		}
	}
}

// Whatever is signed, it is one line of printable ASCII that nobody can take for two
// names, and that percent-decoding makes UTF-8 of.
func FuzzSubject(f *testing.F) {
	for _, s := range []string{"alice", "a,O=evil", "\x00\r\n", "é", "%0A", " #"} {
		der, err := asn1.Marshal(pkix.RDNSequence{one(cn, s), append(one(ou, s), one(given, s)...)})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(der)
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		got, err := subjectOf(&x509.Certificate{RawSubject: der})
		if err != nil {
			return
		}
		if len(got) > maxSubject || strings.Trim(got, " ") != got {
			t.Errorf("%q is too long, or has blanks about it", got)
		}
		if strings.ContainsFunc(got, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("%q is not printable", got)
		}
		if plain, err := url.PathUnescape(got); err != nil || !utf8.ValidString(plain) {
			t.Errorf("%q decodes to %q, %v", got, plain, err)
		}
	})
}
