package engineio

import "testing"

func TestPollingEcho(t *testing.T) {
	inBothWays(t, func(t *testing.T, r *rig) {
		c := r.polling()
		b := r.back.next()
		for range 3 {
			got := c.begun()
			c.wantPost("4hello")
			b.want("hello")
			b.say("hello")
			c.wantGot(got, "4hello")
		}
	})
}

func TestUpgrade(t *testing.T) {
	inBothWays(t, func(t *testing.T, r *rig) {
		c, p := r.upgraded()
		b := r.back.next()
		p.say("4hello")
		b.want("hello")
		b.say("hello")
		p.want("4hello")
		c.wantFault(c.get(), 400, 3)
	})
}
