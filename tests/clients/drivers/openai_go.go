// The openai SDK of Go.
package main

import (
	"context"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
)

func main() {
	client := openai.NewClient(option.WithBaseURL(url+"/v1"), option.WithAPIKey(key), option.WithMaxRetries(0))
	embed := func(texts []string) ([][]float64, error) {
		answer, err := client.Embeddings.New(context.Background(), openai.EmbeddingNewParams{
			Model: openai.EmbeddingModel(model),
			Input: openai.EmbeddingNewParamsInputUnion{OfArrayOfStrings: texts},
		})
		if err != nil {
			return nil, err
		}
		found := make([][]float64, len(answer.Data))
		for _, item := range answer.Data {
			found[item.Index] = item.Embedding
		}
		return found, nil
	}
	for name, texts := range map[string][]string{"text": {one}, "list": several, "many": many()} {
		got, err := embed(texts)
		vectors(name, texts, got, err)
	}
	_, err := embed([]string{"fine", ""})
	refusal("empty text", err)
	_, err = client.Models.List(context.Background())
	if err != nil {
		say(told{Case: "models", Error: err.Error()})
	}
}
