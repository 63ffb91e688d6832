// Package test is the program tested from end to end: the real one, with real
// clients, a real browser and real faults; and what must hold of the source tree
// as a whole. Start it with ./test/run.
package test
