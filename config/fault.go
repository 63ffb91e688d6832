package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
)

// An origin is where a value came from: a place in a file, or else the name of
// a variable or a flag. The zero value is the defaults.
type origin struct {
	rank      rank
	name      string // of the file, variable or flag
	line, col int    // in a file; 0: unknown
}

type rank int

const (
	fromDefault rank = iota
	fromFile
	fromEnv
	fromFlag
)

func (o origin) String() string {
	if o.line == 0 {
		return o.name
	}
	return o.name + ":" + strconv.Itoa(o.line) + ":" + strconv.Itoa(o.col)
}

// A fault is one thing that is wrong: where, at which key, what and the remedy.
type fault struct {
	at   origin
	key  string
	text string
}

func (f fault) Error() string {
	switch {
	case f.key == "" || f.at.rank == fromFlag && f.at.name == "--"+f.key:
		return f.at.String() + ": " + f.text
	case f.at == origin{}:
		return f.key + ": " + f.text
	}
	return f.at.String() + ": " + f.key + ": " + f.text
}

// maxFaults bounds what is reported of a file that is wrong throughout.
const maxFaults = 100

// joinFaults is nil, or one error of a line for each fault: the file's first,
// from top to bottom, then variables, flags, and what is missing.
func joinFaults(faults []fault) error {
	slices.SortStableFunc(faults, func(a, b fault) int {
		return cmp.Or(order(a)-order(b), a.at.line-b.at.line, a.at.col-b.at.col, cmp.Compare(a.at.name, b.at.name), cmp.Compare(a.key, b.key))
	})
	faults = slices.Compact(faults)
	var errs []error
	for i, f := range faults {
		if i == maxFaults {
			errs = append(errs, fmt.Errorf("and %d more", len(faults)-maxFaults))
			break
		}
		errs = append(errs, f)
	}
	return errors.Join(errs...)
}

func order(f fault) int {
	if f.at.rank == fromDefault {
		return int(fromFlag) + 1
	}
	return int(f.at.rank)
}

// quote shows what somebody wrote, cut where it is long.
func quote(s string) string {
	const most = 80
	if len(s) <= most {
		return strconv.Quote(s)
	}
	return strconv.Quote(s[:most]) + "…"
}
