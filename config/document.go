package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// maxFile bounds the file. A larger one is refused: it is some other file.
const maxFile = 1 << 20

// readFile reads at most maxFile bytes.
func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	return b, nil
}

// document parses the file to the one node it holds, nil where it holds none.
func document(name string, b []byte) (*yaml.Node, []fault) {
	at := origin{rank: fromFile, name: name}
	if len(b) > maxFile {
		return nil, []fault{{at: at, text: "is larger than 1 MiB; is it the right file?"}}
	}
	if bytes.HasPrefix(b, []byte("\xff\xfe")) || bytes.HasPrefix(b, []byte("\xfe\xff")) {
		return nil, []fault{{at: at, text: "is UTF-16; save it as UTF-8"}}
	}
	b = bytes.TrimPrefix(b, []byte("\ufeff"))
	if faults := letters(at, b); faults != nil {
		return nil, faults
	}
	d := yaml.NewDecoder(bytes.NewReader(b))
	var first, second yaml.Node
	err := d.Decode(&first)
	if errors.Is(err, io.EOF) {
		return nil, nil
	}
	if err == nil {
		err = d.Decode(&second)
		if err == nil {
			at.line, at.col = second.Line, second.Column
			return nil, []fault{{at: at, text: "a second document begins; one file holds one"}}
		}
	}
	if !errors.Is(err, io.EOF) {
		return nil, []fault{syntax(at, b, err)}
	}
	return first.Content[0], nil
}

var (
	yamlLine    = regexp.MustCompile(`^(?:line (\d+): )?(.*)`)
	yamlAnchor  = regexp.MustCompile(`^unknown anchor '(.*)' referenced`)
	yamlGrammar = regexp.MustCompile(`^(did not find expected (<|node content|'-' indicator|key$|',')|found (undefined tag|duplicate %|incompatible YAML))`)
)

// syntax turns the parser's own error into a fault with a place. The parser
// tells lines only; the column is the first tab's or the first letter's.
func syntax(at origin, b []byte, err error) fault {
	m := yamlLine.FindStringSubmatch(strings.TrimPrefix(err.Error(), "yaml: "))
	at.line, _ = strconv.Atoi(m[1])
	if yamlGrammar.MatchString(m[2]) {
		at.line++ // faults of grammar, unlike those of letters, are counted from 0
	}
	what := "is not YAML: " + m[2]
	if a := yamlAnchor.FindStringSubmatch(m[2]); a != nil {
		at.line, at.col = position(b, bytes.Index(b, []byte("*"+a[1])))
		return fault{at: at, text: what}
	}
	if at.line == 0 {
		return fault{at: at, text: what}
	}
	lines := strings.Split(string(b), "\n")
	line := lines[min(at.line, len(lines))-1]
	indent := line[:len(line)-len(strings.TrimLeft(line, " \t"))]
	at.col = len(indent) + 1
	if tab := strings.IndexByte(indent, '\t'); tab >= 0 {
		at.col = tab + 1
		what += "; indent by spaces, not tabs"
	}
	return fault{at: at, text: what}
}

// letters finds the first thing in b that is no text, which the parser would
// refuse without a place.
func letters(at origin, b []byte) []fault {
	for i := 0; i < len(b); {
		r, size := utf8.DecodeRune(b[i:])
		what := ""
		switch {
		case r == utf8.RuneError && size == 1:
			what = fmt.Sprintf("has the byte %#x, which is not UTF-8", b[i])
		case r < ' ' && r != '\t' && r != '\n' && r != '\r', r == 0x7f:
			what = fmt.Sprintf("has the control character %#x; write it as an escape in double quotes", r)
		}
		if what != "" {
			at.line, at.col = position(b, i)
			return []fault{{at: at, text: what}}
		}
		i += size
	}
	return nil
}

// position is the line and the column, both from 1, of the byte at i.
func position(b []byte, i int) (line, col int) {
	before := b[:max(0, i)]
	line = 1 + bytes.Count(before, []byte("\n"))
	return line, 1 + utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:])
}
