// Package bench holds the measured comparisons of the performance budget, each
// with its peer beside it in one run on one machine: only the ratios mean
// anything elsewhere.
//
//	make bench                                  all of it
//	go test -run '^$' -bench MQTT ./bench/      the rows of one door
//
// A row prints the median of three rounds, ours and theirs by turns, their
// ratio, and how far the rounds lie apart (spread), which is the machine's noise.
package bench
