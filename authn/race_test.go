//go:build race

package authn

const raceDetector = true
