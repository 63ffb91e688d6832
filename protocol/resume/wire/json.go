package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// members reads a JSON object strictly: UTF-8, each name once, names compared as
// they are. Those that field does not know are skipped, so that either side may add
// some (§5.1).
func members(t Type, body []byte, field func(name string, v value) error) error {
	if !utf8.Valid(body) || !json.Valid(body) {
		return fmt.Errorf("%w: %v is not JSON", ErrBody, t)
	}
	d := json.NewDecoder(bytes.NewReader(body))
	if open, _ := d.Token(); open != json.Delim('{') {
		return fmt.Errorf("%w: %v is not an object", ErrBody, t)
	}
	seen := map[string]bool{}
	for d.More() {
		token, _ := d.Token() // cannot fail: it is valid JSON
		name := token.(string)
		var v json.RawMessage
		d.Decode(&v)
		if seen[name] {
			return fmt.Errorf("%w: %v has %q twice", ErrBody, t, name)
		}
		seen[name] = true
		if err := field(name, value(v)); err != nil {
			return fmt.Errorf("%w: %v has a bad %q: %w", ErrBody, t, name, err)
		}
	}
	return nil
}

// A value is the JSON of one member.
type value []byte

// number reads an integer from least to most, written in digits only.
func (v value) number(least, most uint64, to *uint64) error {
	n, err := strconv.ParseUint(string(v), 10, 64)
	if err != nil || n < least || n > most {
		return fmt.Errorf("%.40q; want an integer from %d to %d", v, least, most)
	}
	*to = n
	return nil
}

// text reads a string that ok likes.
func (v value) text(ok func(s string) bool, to *string) error {
	var s string
	if len(v) == 0 || v[0] != '"' || json.Unmarshal(v, &s) != nil || !ok(s) {
		return fmt.Errorf("%.40q", v)
	}
	*to = s
	return nil
}

// list reads an array of at most n strings that ok likes, no two alike.
func (v value) list(n int, ok func(s string) bool, to *[]string) error {
	var all []json.RawMessage
	if len(v) == 0 || v[0] != '[' || json.Unmarshal(v, &all) != nil || len(all) > n {
		return fmt.Errorf("%.40q; want at most %d strings", v, n)
	}
	seen := map[string]bool{}
	for _, one := range all {
		var s string
		if err := value(one).text(ok, &s); err != nil {
			return err
		}
		if seen[s] {
			return fmt.Errorf("%.40q twice", s)
		}
		seen[s] = true
		*to = append(*to, s)
	}
	return nil
}

// appendJSON appends a frame of what v is in JSON.
func appendJSON(dst []byte, t Type, v any) ([]byte, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("writing %v: %w", t, err)
	}
	if len(body) > t.most() {
		return nil, fmt.Errorf("%w: %v of %d bytes; at most %d", ErrLong, t, len(body), t.most())
	}
	return append(appendHead(dst, t, len(body)), body...), nil
}

// isID reports whether s is from least to most of the characters that stand in a
// URL or a cookie as they are.
func isID(s string, least, most int) bool {
	for i := range len(s) {
		if c := s[i]; !isAlnum(c) && c != '-' && c != '.' && c != '_' && c != '~' {
			return false
		}
	}
	return len(s) >= least && len(s) <= most
}

func isAlnum(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

func isSession(s string) bool { return isID(s, 1, maxID) }
func isToken(s string) bool   { return isID(s, 1, maxToken) }
func isAttempt(s string) bool { return isID(s, minAttempt, maxAttempt) }

// isProtocol reports whether s is a token of RFC 9110 §5.6.2, as RFC 6455 §4.1
// wants subprotocols to be.
func isProtocol(s string) bool {
	for i := range len(s) {
		if c := s[i]; !isAlnum(c) && !bytes.ContainsRune([]byte("!#$%&'*+-.^_`|~"), rune(c)) {
			return false
		}
	}
	return s != "" && len(s) <= maxProtocol
}

// isText reports whether s is printable, on one line, and not long.
func isText(s string) bool {
	for _, r := range s {
		if !strconv.IsPrint(r) {
			return false
		}
	}
	return len(s) <= maxText
}

const (
	minAttempt   = 22 // 128 bits in base64
	maxAttempt   = 64
	maxProtocol  = 4 << 10 // some carry credentials
	maxProtocols = 32
	maxText      = 200
)
