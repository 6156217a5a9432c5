// Package pages is the door for people with a browser: pages made on the server,
// which work without a script and are quicker with one.
//
// It has no rule of its own. Every page asks the management API, in this
// process and with the browser's own cookies, and shows the answer; so whoever
// may do something there may do it here, and what is refused is refused in the
// same words. Walk a click: route (routes.go) → handler → visit.ask → adapters/api
// → template (templates/).
//
// The pages of who is not signed in yet (entrances.go) ask with a one-time key
// instead, which comes in the fragment of a link and goes on in a form, so that
// no log, history or Referer has it.
//
// What changes by itself is a stream of server-sent events (stream.go) or a part
// that is asked for again; both go through the API like any page, so they end
// with the right to see them. A channel's messages come from the API's own stream.
//
// The policy of every page forbids inline scripts and styles and everything from
// elsewhere; what is needed is in assets, with the licences beside it.
package pages
