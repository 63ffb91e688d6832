package proxy

import (
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Extensions are what two ends agreed on, as far as the frames show it.
type extensions struct {
	deflate bool // permessage-deflate (RFC 7692)
	unknown bool // something else, whose use of reserved bits we cannot judge
}

// maxExtensions bounds how many offers or answers are looked at.
const maxExtensions = 32

// agreed checks the backend's answer against the client's offers, both the
// values of Sec-WebSocket-Extensions (RFC 6455 §9.1).
func agreed(offers, answers []string) (extensions, error) {
	var got extensions
	if len(answers) == 0 {
		return got, nil
	}
	offered, _ := parseExtensions(offers) // what of it is malformed was offered to nobody
	accepted, err := parseExtensions(answers)
	if err != nil {
		return got, err
	}
	for i, ext := range accepted {
		offer := slices.IndexFunc(offered, func(o extension) bool { return o.name == ext.name })
		twice := slices.ContainsFunc(accepted[:i], func(o extension) bool { return o.name == ext.name })
		switch {
		case offer < 0:
			return got, fmt.Errorf("backend chose extension %q, which was not offered", ext.name)
		case twice:
			return got, fmt.Errorf("backend chose extension %q twice", ext.name)
		case ext.name != "permessage-deflate":
			got.unknown = true
			continue
		}
		got.deflate = true
		if err := checkDeflate(ext); err != nil {
			return got, err
		}
	}
	return got, nil
}

// checkDeflate checks the parameters of an accepted permessage-deflate (RFC 7692
// §7.1). A window no client can use would be found only in mid-stream.
func checkDeflate(ext extension) error {
	seen := map[string]bool{}
	for _, p := range ext.params {
		if seen[p.key] {
			return fmt.Errorf("backend set permessage-deflate's %q twice", p.key)
		}
		seen[p.key] = true
		switch p.key {
		case "server_no_context_takeover", "client_no_context_takeover":
			if p.value != "" {
				return fmt.Errorf("backend gave permessage-deflate's %q a value, %q", p.key, p.value)
			}
		case "server_max_window_bits", "client_max_window_bits":
			if n, err := strconv.Atoi(p.value); err != nil || n < 8 || n > 15 || p.value[0] == '0' || p.value[0] == '+' {
				return fmt.Errorf("backend set permessage-deflate's %q to %q, which is not 8 to 15", p.key, p.value)
			}
		default:
			return fmt.Errorf("backend set permessage-deflate's %q, which is unknown", p.key)
		}
	}
	return nil
}

// An extension is one offer or answer with its parameters.
type extension struct {
	name   string
	params []param
}

type param struct{ key, value string }

var errExtensions = errors.New("malformed Sec-WebSocket-Extensions")

// parseExtensions reads the header's values. Names and keys come out in lower
// case. With an error comes what was well-formed before it.
func parseExtensions(values []string) ([]extension, error) {
	var list []extension
	for _, value := range values {
		for _, item := range strings.Split(value, ",") {
			if strings.TrimSpace(item) == "" {
				continue // an empty list element is allowed (RFC 9110 §5.6.1)
			}
			ext, err := parseExtension(item)
			if err != nil || len(list) == maxExtensions {
				return list, errExtensions
			}
			list = append(list, ext)
		}
	}
	return list, nil
}

func parseExtension(s string) (extension, error) {
	parts := strings.Split(s, ";")
	ext := extension{name: strings.ToLower(strings.TrimSpace(parts[0]))}
	if !isToken(ext.name) || len(parts) > maxExtensions {
		return ext, errExtensions
	}
	for _, part := range parts[1:] {
		key, value, given := strings.Cut(part, "=")
		p := param{strings.ToLower(strings.TrimSpace(key)), strings.Trim(strings.TrimSpace(value), `"`)}
		if !isToken(p.key) || given && !isToken(p.value) {
			return ext, errExtensions
		}
		ext.params = append(ext.params, p)
	}
	return ext, nil
}

// isToken reports whether s is a token of RFC 9110 §5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		if !tokenBytes[s[i]] {
			return false
		}
	}
	return s != ""
}

var tokenBytes = func() (t [256]bool) {
	for c := byte('!'); c < 0x7f; c++ {
		t[c] = strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) < 0
	}
	return t
}()

// tokens are the elements of a header that is a list of tokens. key is in its
// canonical form.
func tokens(h http.Header, key string) []string {
	return slices.Collect(eachToken(h, key))
}

// eachToken knows no blanks but those of HTTP (RFC 9110 §5.6.3). Unicode's would let a
// stranger name a header in Connection that access.DropVouched did not find there, and
// so have the backend not told what we say in it.
func eachToken(h http.Header, key string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, v := range h[key] {
			for t := range strings.SplitSeq(v, ",") {
				if t = strings.Trim(t, " \t"); t != "" && !yield(t) {
					return
				}
			}
		}
	}
}
