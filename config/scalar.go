package config

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	// maxDuration keeps sums of settings far from where time arithmetic wraps.
	maxDuration = 365 * 24 * time.Hour
	// maxSize does the same for sums of bytes.
	maxSize = 1 << 40
)

// set reads text, as somebody wrote it, into v. The error says what is wrong
// with it and what would be right, and begins after the value.
func set(v reflect.Value, f field, text string) error {
	if !utf8.ValidString(text) {
		return errors.New("is not UTF-8")
	}
	if words := f.enum(); words != nil && !slices.Contains(words, text) {
		return fmt.Errorf("must be %s%s", either(words), didYouMean(text, words))
	}
	switch {
	case v.Type() == durationType:
		return setDuration(v, text)
	case isText(v.Type()):
		return v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(text))
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
		return nil
	case reflect.Bool:
		return setBool(v, text)
	case reflect.Int, reflect.Int64:
		return setInt(v, f, text)
	}
	panic("config: no way to read a " + v.Type().String())
}

func setBool(v reflect.Value, text string) error {
	if text != "true" && text != "false" {
		return errors.New("must be true or false")
	}
	v.SetBool(text == "true")
	return nil
}

func setDuration(v reflect.Value, text string) error {
	d, err := time.ParseDuration(text)
	switch {
	case err != nil:
		return errors.New("is not a duration; write it like 500ms, 20s or 1m30s")
	case d > maxDuration || d < -maxDuration:
		return fmt.Errorf("is more than a year; at most %s", durationText(maxDuration))
	}
	v.SetInt(int64(d))
	return nil
}

func setInt(v reflect.Value, f field, text string) error {
	off := f.tag.Get("off")
	if off != "" && text == "off" {
		return setInt(v, field{}, off)
	}
	if f.tag.Get("unit") == "bytes" {
		return setSize(v, text)
	}
	i, err := strconv.ParseInt(text, 10, 32)
	switch {
	case off != "" && strings.HasPrefix(text, "-"):
		return errors.New("must not be negative; write off for no bound")
	case errors.Is(err, strconv.ErrRange):
		return fmt.Errorf("is too large; at most %d", math.MaxInt32)
	case err != nil && off != "":
		return errors.New("is neither a whole number nor off")
	case err != nil:
		return errors.New("is not a whole number")
	}
	v.SetInt(i)
	return nil
}

// units are tried in this order, so the suffix of one may end another's.
var units = []struct {
	name string
	size int64
}{
	{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3}, {"B", 1}, {"", 1},
}

func setSize(v reflect.Value, text string) error {
	for _, u := range units {
		digits, ok := strings.CutSuffix(text, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(digits, 10, 63)
		switch {
		case errors.Is(err, strconv.ErrRange), err == nil && n > uint64(maxSize/u.size):
			return fmt.Errorf("is too large; at most %s", sizeText(maxSize))
		case err != nil:
			return errors.New("is not a size; write it like 65536, 256KiB or 1MB")
		}
		v.SetInt(int64(n) * u.size)
		return nil
	}
	panic("unreachable: the last unit has no name")
}

// sizeText writes n with the unit that needs the fewest digits; set reads it back.
func sizeText(n int64) string {
	best := strconv.FormatInt(n, 10)
	for _, u := range units[:6] {
		if s := strconv.FormatInt(n/u.size, 10) + u.name; n > 0 && n%u.size == 0 && len(s) < len(best)+1 {
			best = s
		}
	}
	return best
}

// text writes a scalar so that set reads the same value back.
func text(v reflect.Value, f field) string {
	switch {
	case v.Type() == durationType:
		return durationText(time.Duration(v.Int()))
	case isText(v.Type()):
		b, err := v.Interface().(encoding.TextMarshaler).MarshalText()
		if err != nil {
			return ""
		}
		return strings.ToLower(string(b))
	}
	switch v.Kind() {
	case reflect.String:
		return v.String()
	case reflect.Bool:
		return strconv.FormatBool(v.Bool())
	}
	s := strconv.FormatInt(v.Int(), 10)
	switch {
	case f.tag.Get("off") == s:
		return "off"
	case f.tag.Get("unit") == "bytes":
		return sizeText(v.Int())
	}
	return s
}

// durationText is d as Go writes it, less the zeros that say nothing: 2m, not 2m0s.
func durationText(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// either joins words as a sentence would: a, b or c.
func either(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}
