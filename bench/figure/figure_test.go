package figure

import (
	"strings"
	"testing"
)

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		v    []float64
		want Spread
	}{
		{nil, Spread{}},
		{[]float64{3}, Spread{3, 3, 3}},
		{[]float64{9, 1, 5}, Spread{5, 1, 9}},
		{[]float64{4, 1, 2, 100}, Spread{3, 1, 100}},
	} {
		if got := Of(c.v); got != c.want {
			t.Errorf("%v: got %+v; want %+v", c.v, got, c.want)
		}
	}
	v := []float64{2, 1}
	if Of(v); v[0] != 2 {
		t.Error("the values were put in order where they lie: rounds no longer pair")
	}
}

func TestPercentile(t *testing.T) {
	hundred := make([]int, 100)
	for i := range hundred {
		hundred[i] = 100 - i
	}
	for _, c := range []struct {
		v       []int
		p, want int
	}{
		{nil, 99, 0}, {[]int{7}, 99, 7}, {[]int{7}, 1, 7}, {hundred, 99, 99}, {hundred, 100, 100}, {hundred, 50, 50},
		{[]int{1, 2}, 99, 2}, {[]int{1, 2}, 50, 1}, {[]int{1, 2, 3}, 50, 2}, {[]int{5}, 0, 5},
	} {
		if got := Percentile(c.v, c.p); got != c.want {
			t.Errorf("p%d of %d: got %d; want %d", c.p, len(c.v), got, c.want)
		}
	}
}

func TestRatiosPairRounds(t *testing.T) {
	got := Ratios([]float64{2, 9, 5}, []float64{1, 3})
	if len(got) != 2 || got[0] != 2 || got[1] != 3 {
		t.Errorf("got %v; want [2 3]", got)
	}
}

func TestTableMarks(t *testing.T) {
	values := map[string][]float64{Ours: {10, 20, 12}, "nginx": {10, 10, 10}}
	beside := map[string][]float64{"direct": {5000}}
	row := Row{Name: "CPU", Unit: "µs", Values: values, Beside: beside, BesideUnit: "/s", Goals: []Goal{
		{"nginx", 1.2}, {"nginx", 1}, {"haproxy", 1}, {"", 12}, {"", 10}}}
	var b strings.Builder
	Write(&b, []Row{row}, []string{"direct", "nginx", Ours})
	want := `| work | direct | nginx | sidecar | sidecar / nginx | to reach |  |
| --- | --- | --- | --- | --- | --- | --- |
| CPU, µs | –; 5000 /s | 10.0 | 12.0 (10.0..20.0) | 1.20 (1.00..2.00) | ≤ 1.20 of nginx, ≤ 1.00 of nginx, ≤ 1.00 of haproxy, ≤ 12.0, ≤ 10.0 | ok, **short by 20 %**, ?, ok, **short by 20 %** |
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestWriteAcross(t *testing.T) {
	cpu := Row{Name: "CPU", Unit: "µs", BesideUnit: "/s",
		Values: map[string][]float64{"plain": {2, 2}, "poll": {8, 4}}, Beside: map[string][]float64{"plain": {100, 100}},
		Sent: map[string][]float64{"plain": {70, 70}}, Got: map[string][]float64{"plain": {66, 66}}}
	mem := Row{Name: "memory", Unit: "KiB", BesideUnit: "after 5 s", Values: map[string][]float64{"poll": {12}}}
	var b strings.Builder
	WriteAcross(&b, "carrier", []Row{cpu, mem}, []string{"plain", "poll"})
	want := `| carrier | CPU, µs | of plain | /s | bytes sent | bytes got | memory, KiB | of plain | after 5 s |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
| plain | 2.00 | 1.00 | 100 | 70.0 | 66.0 | – | – | – |
| poll | 6.00 (4.00..8.00) | 3.00 (2.00..4.00) | – | – | – | 12.0 | – | – |
`
	if got := b.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}
