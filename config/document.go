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

var yamlLine = regexp.MustCompile(`^yaml: line (\d+): (.*)`)

// syntax turns the parser's own error into a fault with a place. The parser
// tells lines only; the column is the first tab's or the first letter's.
func syntax(at origin, b []byte, err error) fault {
	m := yamlLine.FindStringSubmatch(err.Error())
	if m == nil {
		return fault{at: at, text: "is not YAML: " + strings.TrimPrefix(err.Error(), "yaml: ")}
	}
	at.line, _ = strconv.Atoi(m[1])
	what := "is not YAML: " + m[2]
	lines := strings.Split(string(b), "\n")
	line := lines[min(max(at.line, 1), len(lines))-1]
	indent := line[:len(line)-len(strings.TrimLeft(line, " \t"))]
	at.col = len(indent) + 1
	if tab := strings.IndexByte(indent, '\t'); tab >= 0 {
		at.col = tab + 1
		what += "; indent by spaces, not tabs"
	}
	return fault{at: at, text: what}
}
