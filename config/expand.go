package config

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

var varName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*`)

// expand puts variables into a scalar of the file: ${VAR}, ${VAR:-default} where
// it is not set or empty, ${VAR:?message} to demand it, and $$ for a dollar. Any
// other dollar stands for itself. It runs once: what a variable holds is not
// expanded again, so its text cannot reach for other variables.
func expand(s string, env func(string) (string, bool)) (string, error) {
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(s, "$")
		out.WriteString(before)
		if !found {
			return out.String(), nil
		}
		switch {
		case strings.HasPrefix(rest, "$"):
			out.WriteByte('$')
			s = rest[1:]
		case strings.HasPrefix(rest, "{"):
			body, after, closed := strings.Cut(rest[1:], "}")
			if !closed {
				return "", errors.New("has a ${ that is not closed; write $$ for a dollar sign")
			}
			val, err := variable(body, env)
			if err != nil {
				return "", err
			}
			out.WriteString(val)
			s = after
		default:
			out.WriteByte('$')
			s = rest
		}
	}
}

// variable is what ${body} stands for.
func variable(body string, env func(string) (string, bool)) (string, error) {
	name := varName.FindString(body)
	op, word := "", body[len(name):]
	if len(word) >= 2 {
		op, word = word[:2], word[2:]
	}
	val, ok := env(name)
	switch {
	case name == "" || op == "" && word != "" || op != "" && op != ":-" && op != ":?":
		return "", fmt.Errorf("has %s; write ${VAR}, ${VAR:-default} or ${VAR:?message}, and $$ for a dollar sign", quote("${"+body+"}"))
	case strings.Contains(word, "${"):
		return "", fmt.Errorf("has a ${} inside %s; that is not supported", quote("${"+body))
	case op == ":-" && val == "":
		return word, nil
	case op == ":?" && val == "":
		return "", fmt.Errorf("needs the variable %s: %s", name, word)
	case op == "" && !ok:
		return "", fmt.Errorf("needs the variable %s, which is not set; ${%s:-default} would do without", name, name)
	}
	return val, nil
}
