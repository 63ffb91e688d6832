package figure

import (
	"io"
	"strings"
)

// WriteAcross prints rows as a table in Markdown with a line for each of peers,
// under the head first. After what is judged comes its ratio to the first of
// peers; then what is only shown, and the bytes on the wire, where there are any.
func WriteAcross(w io.Writer, first string, rows []Row, peers []string) {
	head := []string{first}
	for _, r := range rows {
		head = append(head, r.heads(peers[0])...)
	}
	line(w, head)
	line(w, strings.Split(strings.Repeat("---,", len(head)-1)+"---", ","))
	for _, p := range peers {
		cells := []string{p}
		for _, r := range rows {
			cells = append(cells, r.across(p, peers[0])...)
		}
		line(w, cells)
	}
}

func (r Row) heads(base string) []string {
	h := []string{r.Name + ", " + r.Unit, "of " + base, r.BesideUnit}
	if len(r.Sent) > 0 {
		h = append(h, "bytes sent", "bytes got")
	}
	return h
}

func (r Row) across(p, base string) []string {
	cells := []string{orDash(r.Values[p]), orDash(Ratios(r.Values[p], r.Values[base])), middle(r.Beside[p])}
	if len(r.Sent) > 0 {
		cells = append(cells, middle(r.Sent[p]), middle(r.Got[p]))
	}
	return cells
}

// middle is the median of v alone.
func middle(v []float64) string {
	if len(v) == 0 {
		return "–"
	}
	return digits(Of(v).Median)
}
