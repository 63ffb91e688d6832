package access

import "strings"

// A walker takes the elements of a list header from the right, where the
// proxies nearest to us wrote. Walking that way, a quote that a stranger left
// open further left cannot swallow what a trusted proxy put behind it, and no
// more is read than is needed.
type walker struct {
	lines  []string // those not yet begun
	line   string   // what is left of the present one
	begun  bool
	quotes bool // commas within quoted strings do not separate
}

// next returns the next element to the left, without surrounding blanks.
func (w *walker) next() (string, bool) {
	if !w.begun {
		if len(w.lines) == 0 {
			return "", false
		}
		last := len(w.lines) - 1
		w.lines, w.line, w.begun = w.lines[:last], w.lines[last], true
	}
	i := w.lastComma()
	element := strings.Trim(w.line[i+1:], " \t")
	if i < 0 {
		w.begun = false
	} else {
		w.line = w.line[:i]
	}
	return element, true
}

// lastComma is the last comma's place in the line, -1 if there is none. Seen
// from the right, a quote within a quoted string either opens it, and then a
// "=" is before it, or is escaped.
func (w *walker) lastComma() int {
	if !w.quotes {
		return strings.LastIndexByte(w.line, ',')
	}
	quoted := false
	for i := len(w.line) - 1; i >= 0; i-- {
		switch {
		case w.line[i] == '"' && !(quoted && strings.HasSuffix(w.line[:i], `\`)):
			quoted = !quoted
		case w.line[i] == ',' && !quoted:
			return i
		}
	}
	return -1
}

// countElements counts the elements of a list header without quoted strings.
func countElements(lines []string) int {
	n := len(lines)
	for _, line := range lines {
		n += strings.Count(line, ",")
	}
	return n
}

// An element is one hop of a Forwarded header, RFC 7239 section 4.
type element struct {
	node  string // the for= parameter
	proto string
	host  string
}

// parseElement reads one element. One with for, proto or host twice, a quote
// left open or a parameter without value says nothing: it is the zero element.
// Values that RFC 7239 wants quoted, such as an address with a port, pass
// unquoted too: proxies write them so.
func parseElement(s string) (e element) {
	for more := true; more; {
		var pair string
		pair, s, more = cutPair(s)
		if pair = strings.Trim(pair, " \t"); pair != "" && !e.set(pair) {
			return element{}
		}
	}
	return e
}

// set takes one name=value pair and reports whether it is well formed.
func (e *element) set(pair string) bool {
	name, value, found := strings.Cut(pair, "=")
	value, ok := unquote(value)
	if !found || !ok || name == "" {
		return false
	}
	var field *string
	switch strings.ToLower(name) {
	case "for":
		field = &e.node
	case "proto":
		field = &e.proto
	case "host":
		field = &e.host
	default:
		return true
	}
	if *field != "" {
		return false
	}
	*field = value
	return value != ""
}

// cutPair cuts s at the first semicolon outside a quoted string.
func cutPair(s string) (pair, rest string, more bool) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case quoted && s[i] == '\\':
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == ';' && !quoted:
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}

// unquote returns the value of a token or quoted string, RFC 9110 section 5.6.4.
func unquote(s string) (string, bool) {
	if !strings.HasPrefix(s, `"`) {
		return s, s != "" && !strings.ContainsAny(s, "\" \t")
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return b.String(), i == len(s)-1
		case s[i] == '\\' && i+1 < len(s):
			i++
		}
		b.WriteByte(s[i])
	}
	return "", false
}
