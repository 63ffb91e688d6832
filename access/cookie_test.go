package access

import (
	"net/http"
	"slices"
	"testing"
)

func TestCookie(t *testing.T) {
	for _, c := range []struct {
		lines, want []string
	}{
		{nil, nil},
		{[]string{"b=1; aa=2; A=3"}, nil},
		{[]string{"a=1"}, []string{"1"}},
		{[]string{"b=0;a=1 ;  a\t= 2", "a=3=4"}, []string{"1", "2", "3=4"}},
		{[]string{`a={"user":1}; b=2`}, []string{`{"user":1}`}},
		{[]string{"a=\\\xff"}, []string{"\\\xff"}},
		{[]string{`a="1"`}, []string{`"1"`}},
		{[]string{"a; a="}, []string{"", ""}},
	} {
		if got := Cookie(http.Header{"Cookie": c.lines}, "a"); !slices.Equal(got, c.want) {
			t.Errorf("Cookie of %q = %q; want %q", c.lines, got, c.want)
		}
	}
}
