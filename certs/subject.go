package certs

import (
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxSubject is the most bytes of a subject in a header. A certificate whose
// subject has more is refused: what is cut off may be what tells it from another.
const maxSubject = 2 << 10

// An attribute is one of a name's, as it was signed. Go's own pkix.Name keeps one
// common name where there are two, and not the order.
type attribute struct {
	Type  asn1.ObjectIdentifier
	Value asn1.RawValue
}

// A relativeSET is what a name consists of; encoding/asn1 goes by the word SET.
type relativeSET []attribute

// shortNames are those of RFC 4514 section 3, and two of RFC 4519.
var shortNames = map[string]string{
	"2.5.4.3": "CN", "2.5.4.7": "L", "2.5.4.8": "ST", "2.5.4.10": "O", "2.5.4.11": "OU", "2.5.4.6": "C", "2.5.4.9": "STREET",
	"0.9.2342.19200300.100.1.25": "DC", "0.9.2342.19200300.100.1.1": "UID", "2.5.4.5": "SERIALNUMBER", "2.5.4.17": "POSTALCODE",
}

// subjectOf is c's subject in printable ASCII: its RFC 4514 string, of which what is
// not ASCII, and the percent sign itself, is escaped as in a URL. So percent-decoding
// gives back the RFC 4514 string exactly; control characters are escaped in that.
func subjectOf(c *x509.Certificate) (string, error) {
	text, err := distinguishedName(c.RawSubject)
	if err != nil {
		return "", fmt.Errorf("reading subject of client certificate: %w", err)
	}
	if len(text) > maxSubject {
		return "", fmt.Errorf("subject of client certificate takes %d bytes; at most %d", len(text), maxSubject)
	}
	return text, nil
}

// distinguishedName writes a DER name, the last part first (RFC 4514 section 2.1).
func distinguishedName(der []byte) (string, error) {
	var parts []relativeSET
	rest, err := asn1.Unmarshal(der, &parts)
	switch {
	case err != nil:
		return "", err
	case len(rest) > 0:
		return "", fmt.Errorf("%d bytes are left over", len(rest))
	}
	var b strings.Builder
	for i, part := range slices.Backward(parts) {
		if i < len(parts)-1 {
			b.WriteByte(',')
		}
		for j, a := range part {
			if j > 0 {
				b.WriteByte('+')
			}
			a.write(&b)
		}
	}
	return b.String(), nil
}

// write writes TYPE=value, or the DER in hexadecimal where the type has no short
// name or the value is no string (RFC 4514 section 2.4).
func (a attribute) write(b *strings.Builder) {
	oid := a.Type.String()
	name, short := shortNames[oid]
	if !short {
		name = oid
	}
	b.WriteString(name + "=")
	if !short || !a.isText() {
		b.WriteString("#" + hex.EncodeToString(a.Value.FullBytes))
		return
	}
	for i, c := range a.Value.Bytes {
		writeEscaped(b, c, i == 0, i == len(a.Value.Bytes)-1)
	}
}

func (a attribute) isText() bool {
	if a.Value.Class != asn1.ClassUniversal || a.Value.IsCompound {
		return false
	}
	switch a.Value.Tag {
	case asn1.TagUTF8String, asn1.TagPrintableString, asn1.TagIA5String, asn1.TagNumericString:
		return utf8.Valid(a.Value.Bytes)
	}
	return false
}

func writeEscaped(b *strings.Builder, c byte, first, last bool) {
	switch {
	case c < ' ' || c == 0x7f, c == ' ' && (first || last): // a header's last blank would be lost
		fmt.Fprintf(b, `\%02X`, c)
	case c == '%' || c >= utf8.RuneSelf:
		fmt.Fprintf(b, "%%%02X", c)
	case strings.IndexByte(`"+,;<>\`, c) >= 0, c == '#' && first:
		b.WriteByte('\\')
		b.WriteByte(c)
	default:
		b.WriteByte(c)
	}
}
