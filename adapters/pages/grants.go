package pages

import (
	"net/url"
	"strconv"
	"strings"
	"time"
)

// A grantRow is what a device to come may do on a channel.
type grantRow struct{ Channel, May string }

// A grant is the same as the API takes it.
type grant struct {
	Channel string   `json:"channel_id"`
	Types   []string `json:"types"`
}

// spareGrants is how many empty lines a form has for channels: without a script
// none can be added.
const spareGrants = 3

// grantsSent reads the lines of channels. Those that name none count for nothing.
func grantsSent(sent url.Values) ([]grant, error) {
	all := []grant{}
	for _, row := range sentGrants(sent) {
		types, known := typesOf(row.May)
		if !known || len(types) == 0 {
			return nil, mend("channels", "Say what the device may do on each channel.")
		}
		all = append(all, grant{row.Channel, types})
	}
	return all, nil
}

func sentGrants(sent url.Values) (rows []grantRow) {
	for i, channel := range sent["channel"] {
		may := ""
		if all := sent["may"]; i < len(all) {
			may = all[i]
		}
		if channel = strings.TrimSpace(channel); channel != "" {
			rows = append(rows, grantRow{channel, may})
		}
	}
	return rows
}

// Grants are the lines of channels of a form, as they were sent or else as they
// are, with some to fill in.
func (f form) Grants(are []grantRow) []grantRow {
	if f.Problem != nil {
		are = sentGrants(f.Values)
	}
	return append(are[:len(are):len(are)], make([]grantRow, spareGrants)...)
}

// Has reports whether a channel is among those to choose from.
func (c choice) Has(id string) bool {
	for _, ch := range c.Channels {
		if ch.ID == id {
			return true
		}
	}
	return false
}

// Name is what the channel of an id is called, or the id.
func (c choice) Name(id string) string {
	for _, ch := range c.Channels {
		if ch.ID == id {
			return channelTitle(ch)
		}
	}
	return id
}

// inHours writes 90d as 2160h, which is what Go and the API read. Anything else
// stays as it is.
func inHours(text string) string {
	text = strings.TrimSpace(text)
	number, found := strings.CutSuffix(text, "d")
	if n, err := strconv.Atoi(number); found && err == nil && n >= 0 && n < 1_000_000 { // the product is no other number
		return strconv.Itoa(n*24) + "h"
	}
	return text
}

// inDays writes a duration of whole days, such as 2160h0m0s, as 90d.
func inDays(text string) string {
	d, err := time.ParseDuration(text)
	switch {
	case err != nil || d <= 0:
		return text
	case d%(24*time.Hour) == 0:
		return strconv.Itoa(int(d/(24*time.Hour))) + "d"
	case d%time.Hour == 0:
		return strconv.Itoa(int(d/time.Hour)) + "h"
	}
	return text
}
