package figure

import (
	"fmt"
	"io"
	"strings"
)

// Ours is the peer that the figures to reach are about.
const Ours = "sidecar"

// A Goal is a figure to reach: at most Most times what Peer takes, or Most itself
// where Peer is "".
type Goal struct {
	Peer string
	Most float64
}

// A Row is what was measured for one kind of work: less is better.
type Row struct {
	Name, Unit string
	Goals      []Goal
	// Values are those of each peer, round by round; a peer that was left out
	// has none.
	Values map[string][]float64
	// Beside are figures that are shown but not judged, such as a rate.
	Beside     map[string][]float64
	BesideUnit string
	// Sent and Got are the bytes that a client sent and got for each.
	Sent, Got map[string][]float64
}

// Write prints rows as a table in Markdown, with a column for each of peers and
// for each ratio of ours to them.
func Write(w io.Writer, rows []Row, peers []string) {
	var others []string
	for _, p := range peers {
		if p != Ours && p != "direct" {
			others = append(others, p)
		}
	}
	head := append([]string{"work"}, peers...)
	for _, p := range others {
		head = append(head, Ours+" / "+p)
	}
	line(w, append(head, "to reach", ""))
	line(w, strings.Split(strings.Repeat("---,", len(head)+1)+"---", ","))
	for _, r := range rows {
		line(w, r.cells(peers, others))
	}
}

func line(w io.Writer, cells []string) { fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | ")) }

func (r Row) cells(peers, others []string) []string {
	cells := []string{r.Name + ", " + r.Unit}
	for _, p := range peers {
		cells = append(cells, r.cell(p))
	}
	for _, p := range others {
		cells = append(cells, orDash(Ratios(r.Values[Ours], r.Values[p])))
	}
	goals, marks := []string{}, []string{}
	for _, g := range r.Goals {
		goals = append(goals, g.String())
		marks = append(marks, r.Mark(g))
	}
	return append(cells, strings.Join(goals, ", "), strings.Join(marks, ", "))
}

// cell is what p took, and beside it what is only shown.
func (r Row) cell(p string) string {
	c := orDash(r.Values[p])
	if b := r.Beside[p]; len(b) > 0 {
		c += fmt.Sprintf("; %s %s", digits(Of(b).Median), r.BesideUnit)
	}
	return c
}

func orDash(v []float64) string {
	if len(v) == 0 {
		return "–"
	}
	return Of(v).String()
}

func (g Goal) String() string {
	if g.Peer == "" {
		return "≤ " + digits(g.Most)
	}
	return fmt.Sprintf("≤ %s of %s", digits(g.Most), g.Peer)
}

// Mark says whether g is reached by the median: "ok", by how much it is short,
// or "?" where nothing was measured.
func (r Row) Mark(g Goal) string {
	v := r.Values[Ours]
	if g.Peer != "" {
		v = Ratios(v, r.Values[g.Peer])
	}
	if len(v) == 0 {
		return "?"
	}
	if got := Of(v).Median; got > g.Most {
		return fmt.Sprintf("**short by %.0f %%**", 100*(got/g.Most-1))
	}
	return "ok"
}
