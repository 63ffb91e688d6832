// Package proc starts programs on one core and reads the kernel's account of
// what they and their children take. Linux only.
package proc
