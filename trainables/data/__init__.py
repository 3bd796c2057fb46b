"""The data room: where images come from, how they are split, and the batches that training sees."""
