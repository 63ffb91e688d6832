package session

import "testing"

// A session is bound to all that identity names, and to nothing else; what is
// missing is not what is empty, and values do not run into each other.
func TestIdentify(t *testing.T) {
	s := Settings{Identity: []string{"Authorization", "cookie:user"}}
	who := func(auth, user []string) Identity {
		of := func(name string, values []string) func(string) []string {
			return func(asked string) []string {
				if asked != name {
					t.Errorf("asked for %q; want %q", asked, name)
				}
				return values
			}
		}
		return s.Identify(of("Authorization", auth), of("user", user))
	}
	if who([]string{"a"}, []string{"b"}) != who([]string{"a"}, []string{"b"}) {
		t.Error("the same request has two identities")
	}
	seen := map[Identity]int{}
	for i, c := range []struct{ auth, user []string }{
		{nil, nil},
		{[]string{""}, nil},
		{nil, []string{""}},
		{[]string{"ab"}, nil},
		{[]string{"a", "b"}, nil},
		{[]string{"ab", ""}, nil},
		{[]string{"", "ab"}, nil},
		{[]string{"a"}, []string{"b"}},
		{[]string{"b"}, []string{"a"}},
	} {
		id := who(c.auth, c.user)
		if other, ok := seen[id]; ok {
			t.Errorf("rows %d and %d have one identity", other, i)
		}
		seen[id] = i
	}
}
