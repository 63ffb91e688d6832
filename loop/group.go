package loop

import (
	"fmt"
	"runtime"
	"sync/atomic"
)

// A Group is several loops that share the work.
type Group struct {
	loops []*Loop
	turn  atomic.Uint32
}

// StartGroup starts one loop for each processor that Go may use. Stop ends them.
func StartGroup() (*Group, error) {
	g := &Group{}
	for range runtime.GOMAXPROCS(0) {
		l, err := Start()
		if err != nil {
			g.Stop()
			return nil, fmt.Errorf("starting a loop: %w", err)
		}
		g.loops = append(g.loops, l)
	}
	return g, nil
}

// Pick is the loop whose turn it is.
func (g *Group) Pick() *Loop { return g.loops[int(g.turn.Add(1)%uint32(len(g.loops)))] }

// Stop stops all loops and waits for them. It may be called again, and on nil.
func (g *Group) Stop() {
	if g == nil {
		return
	}
	for _, l := range g.loops {
		l.Stop()
	}
}
