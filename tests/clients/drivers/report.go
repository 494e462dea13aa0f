// Tells what a client got: a JSON object for each case, one a line, as report.py does.
package main

import (
	"encoding/json"
	"fmt"
	"os"
)

var (
	url     = os.Getenv("SERVICE_URL")
	model   = os.Getenv("SERVICE_MODEL")
	key     = os.Getenv("SERVICE_KEY")
	one     = "How do birds find their way?"
	several = []string{"first of several", "crème brûlée – 東京 ☂ 🚲", "a \"quoted\" word, a \\ and a\ttab"}
)

func many() []string {
	texts := make([]string, 50)
	for number := range texts {
		texts[number] = fmt.Sprintf("sentence number %d", number)
	}
	return texts
}

type told struct {
	Case    string `json:"case"`
	Texts   any    `json:"texts,omitempty"`
	Vectors any    `json:"vectors,omitempty"`
	Refusal string `json:"refusal,omitempty"`
	Class   string `json:"class,omitempty"`
	Error   string `json:"error,omitempty"`
}

func say(line told) {
	text, _ := json.Marshal(line)
	fmt.Println(string(text))
}

func vectors(name string, texts []string, got any, err error) {
	if err != nil {
		say(told{Case: name, Error: err.Error()})
		return
	}
	say(told{Case: name, Texts: texts, Vectors: got})
}

func refusal(name string, err error) {
	if err == nil {
		say(told{Case: name, Error: "was answered"})
		return
	}
	say(told{Case: name, Refusal: err.Error(), Class: fmt.Sprintf("%T", err)})
}
