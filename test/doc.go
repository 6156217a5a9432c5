// Package test holds the end-to-end stories: Postern as a process, as a
// newcomer starts it, and real foreign clients against it. mosquitto_pub and
// mosquitto_sub, curl, Node's ws and mqtt, and a plain NATS subscriber say
// whether it works; nothing here knows the rooms inside.
package test
