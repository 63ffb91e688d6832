package wire

import (
	"bytes"
	"slices"
)

// modelClient is the client of the model.
type modelClient struct {
	m          *model
	window     int64
	messages   [][]byte
	said       int // how many of them the application has sent
	acked      uint64
	next       uint64 // what goes up next
	from       int
	down       Assembly
	got        uint64
	session    bool
	tokens     []string
	generation uint64
	turn       uint64
	using      uint64 // the generation it wants in use
	upBy       *link  // the WebSocket that DATA goes by; nil: requests
	polls      uint64 // the generation of its poll; 0: none
	asked      bool   // USE of it is due
	trusts     bool
	believes   bool
}

func (c *modelClient) done() bool { return c.got == uint64(len(c.messages)) }

// large has each message fill the window, so that the next waits for its ACK.
func (c *modelClient) large() {
	for i := range c.messages {
		c.messages[i] = letters(uint64(i+1), 0, uint64(c.window))
	}
}

func (c *modelClient) link(kind Kind, generation uint64, token string, body []byte) *link {
	l := &link{kind: kind, generation: generation, token: token, up: [][]byte{body}}
	c.m.links = append(c.m.links, l)
	return l
}

func (c *modelClient) newest() string {
	if len(c.tokens) == 0 {
		return ""
	}
	return c.tokens[len(c.tokens)-1]
}

// mine are the links that it has not dropped.
func (c *modelClient) mine(which func(l *link) bool) (all []*link) {
	for _, l := range c.m.links {
		if !l.left && which(l) {
			all = append(all, l)
		}
	}
	return all
}

// live does one of the things that may be due.
func (c *modelClient) live() {
	c.said = min(len(c.messages), c.said+c.m.rng.IntN(3))
	sockets := c.mine(func(l *link) bool { return l.kind == WebSocket })
	beginning := c.mine(func(l *link) bool { return !l.proven && (l.kind == WebSocket || l.generation != c.polls) })
	works := c.polls > 0 || slices.ContainsFunc(sockets, func(l *link) bool { return l.proven && l.generation == c.using })
	switch {
	case len(beginning) == 0 && !works || len(beginning) < 2 && !c.m.calm && c.m.rng.IntN(10) == 0:
		c.begin(works)
	case c.upBy != nil:
		if len(c.upBy.up) < 4 {
			c.upBy.up = append(c.upBy.up, c.speak(c.down.Ack(c.got).Append(nil)))
		}
	case c.polls > 0:
		c.ask()
	}
}

func (c *modelClient) begin(works bool) {
	c.generation++
	h := &Hello{Version: 1, Attempt: "0123456789012345678901", Generation: c.generation, Window: uint64(c.window), Position: Position{Lowest: 1}}
	if c.session {
		a := c.down.Ack(c.got)
		h.Session, h.Token, h.Position = "s", c.newest(), Position{a.Received, a.Ahead, a.Partial, c.acked + 1}
	}
	if !works {
		c.turn++
		h.Use, c.using = c.turn, c.generation
	}
	body, err := h.Append(nil)
	if err != nil {
		c.m.fail(err.Error())
	}
	c.link([]Kind{WebSocket, Poll}[c.m.rng.IntN(2)], c.generation, h.Token, body)
}

// ask has a poll under way, or else a send.
func (c *modelClient) ask() {
	kind := Poll
	if len(c.mine(func(l *link) bool { return l.kind == Poll && l.generation == c.polls })) > 0 {
		kind = Send
	}
	if kind == Send && (c.next > uint64(c.said) || len(c.mine(func(l *link) bool { return l.kind == Send })) > 0) {
		return
	}
	body := Continue{c.polls, "s", c.newest()}.Append(nil)
	body = c.down.Ack(c.got).Append(body)
	uses := kind == Poll && c.asked
	if uses {
		c.turn++
		c.using, c.asked = c.polls, false
		body = Use{c.turn, c.polls}.Append(body)
	}
	before := c.next
	body = c.speak(body)
	l := c.link(kind, c.polls, c.newest(), body)
	l.uses = uses
	if c.next > before || c.from > 0 {
		l.end = Ack{Received: c.next - 1, Partial: uint64(c.from)}
	}
}

// speak appends what may go up now.
func (c *modelClient) speak(body []byte) []byte {
	if c.next <= c.acked { // it came by another carrier meanwhile
		c.next, c.from = c.acked+1, 0
	}
	for c.next <= uint64(c.said) && (c.from > 0 || weigh(c.messages[c.acked:c.next-1]) < c.window) {
		var whole bool
		if body, c.from, whole = AppendMessage(body, c.next, false, c.messages[c.next-1], c.from, 2500-len(body)); !whole {
			break
		}
		c.next, c.from = c.next+1, 0
	}
	return body
}

func (c *modelClient) lose(l *link) {
	if l.left {
		return
	}
	l.left = true
	if c.upBy == l {
		c.upBy = nil
	}
	if l.kind != WebSocket && c.upBy == nil { // its fate is unknown
		c.next, c.from = c.acked+1, 0
	}
	if l.uses {
		c.asked = true // it may not have come
	}
	if l.kind == Poll && l.generation == c.polls && c.using != c.polls {
		c.polls = 0
	}
}

func (c *modelClient) hear(l *link, body []byte) {
	request := l.kind != WebSocket
	if request {
		defer func() { l.left = true }()
	}
	var told *Ack
	for len(body) > 0 {
		f, rest, err := Split(body)
		if err != nil {
			c.m.fail(err.Error())
			return
		}
		body = rest
		v, err := decode(f)
		if err != nil {
			c.m.fail(err.Error())
			return
		}
		switch v := v.(type) {
		case *Welcome:
			c.welcome(l, v)
		case *Gone:
			if l.token == c.newest() || c.believes {
				c.m.fail("a client that kept to the rules was told that it is unknown")
			}
			c.lose(l)
			return
		case Ack:
			c.acked = max(c.acked, v.Received)
			told = &v
		case Data:
			c.take(v)
		}
	}
	if request && told != nil && !c.trusts && c.upBy == nil && l.end != (Ack{}) {
		if told.Next() < l.end.Next() || told.Next() == l.end.Next() && told.Partial < l.end.Partial {
			c.next, c.from = told.Next(), int(told.Partial)
		}
	}
}

func (c *modelClient) take(d Data) {
	message, whole, err := c.down.Add(d)
	if err != nil {
		c.m.fail("down: " + err.Error())
	}
	if !whole {
		return
	}
	if c.got >= uint64(len(c.messages)) || !bytes.Equal(message, c.messages[c.got]) {
		c.m.fail("the application gets another message than the backend sent")
	}
	c.got++
}

func (c *modelClient) welcome(l *link, w *Welcome) {
	l.proven, c.session = true, true
	if !slices.Contains(c.tokens, w.Token) {
		c.tokens = append(c.tokens, w.Token)
	}
	if w.Lowest > c.got+1 {
		c.m.fail("a gap is told to a healthy client")
	}
	c.acked = max(c.acked, w.Received)
	c.next, c.from = w.Ack().Next(), int(w.Partial)
	if l.kind == WebSocket {
		for _, o := range c.mine(func(o *link) bool { return o != l && o.kind == WebSocket && o.proven }) {
			if c.m.rng.IntN(2) == 0 {
				c.lose(o)
			}
		}
		c.upBy, c.polls = l, 0
		if c.using != l.generation || c.m.rng.IntN(4) == 0 {
			c.turn++
			c.using = l.generation
			l.up = append(l.up, Use{c.turn, l.generation}.Append(nil))
		}
		return
	}
	c.polls, c.asked, c.upBy = l.generation, true, nil
}
