"""Writes the model's folder as one GGUF file of float32: ``write_gguf.py FOLDER FILE``."""
# mypy: ignore-errors

import json
import sys
from pathlib import Path

import gguf
import numpy as np
from safetensors.numpy import load_file

SPECIAL = {"pad": "[PAD]", "unk": "[UNK]", "bos": "[CLS]", "eos": "[SEP]", "sep": "[SEP]", "mask": "[MASK]"}


def main(folder, file):
    config = json.loads((folder / "config.json").read_text())
    layers = config["num_hidden_layers"]
    writer = gguf.GGUFWriter(file, "bert")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_block_count(layers)
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_token_type_count(config["type_vocab_size"])
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    write_vocabulary(writer, (folder / "vocab.txt").read_text(encoding="utf-8").splitlines())
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.BERT, layers)
    for name, tensor in load_file(folder / "model.safetensors").items():
        if not name.startswith("pooler") and not name.endswith("position_ids"):
            known = names.get_name(name, try_suffixes=(".weight", ".bias"))
            writer.add_tensor(known, np.ascontiguousarray(tensor, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_vocabulary(writer, words):
    marks = set(SPECIAL.values())
    special = [word in marks or word.startswith("[unused") for word in words]
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([spelled(word, mark) for word, mark in zip(words, special, strict=True)])
    writer.add_token_types([gguf.TokenType.CONTROL if mark else gguf.TokenType.NORMAL for mark in special])
    for name, word in SPECIAL.items():
        getattr(writer, f"add_{name}_token_id")(words.index(word))


def spelled(word, special):
    """Return a word as GGUF spells it: what begins a word has a mark, what goes on with one has none."""
    if special:
        return word
    return word[2:] if word.startswith("##") else f"▁{word}"


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
