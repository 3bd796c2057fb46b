#!/usr/bin/env bash
# Compares policies with and without compensation on ResNet-56 and VGG-16 at full width; wants a GPU.
#   tests/benchmarks/full_width.sh DATA STORAGE         DATA: CIFAR-10 as Parquet files
#   tests/benchmarks/full_width.sh DATA STORAGE --try   the same path on a CPU, with tiny networks: some minutes
# Weights at 0.9 and 0.95, and channels at half of the multiply-accumulates. The control is the dense network, trained
# on for as long: sparsity 0. Killed or out of time? The same command goes on.
set -euo pipefail
data=$1 storage=$2
if [ "${3-}" = --try ]; then
    size=(width=0.25 data.max_train=300 data.max_val=100 dense.epochs=1 finetune.epochs=1 recalibrate=2 calibration=32
        "seeds=[0]" resources.gpus=0)
else
    size=("dense.epochs=${DENSE_EPOCHS:-160}" "finetune.epochs=${FINETUNE_EPOCHS:-40}" recalibrate=100 calibration=512
        "seeds=${SEEDS:-[0,1,2]}" resources.gpus=1)
fi
run() {
    howcompact run allocation --storage "$storage" --name "$1" --set data.name=parquet "data.path=$data" \
        data.augment=crop_flip dense.lr=0.1 finetune.lr=0.02 "models=[resnet56,vgg16]" "${size[@]}" "${@:2}"
}
run control "policies=[uniform]" "sparsities=[0.0]"
run weights "policies=[uniform,erk,igq,lamp,capacity]" "sparsities=[0.9,0.95]" "compensate=[true,false]"
run channels "policies=[uniform,capacity]" "sparsities=[0.5]" "compensate=[true,false]" \
    granularity=channel "criteria=[l1]" budget=macs
howcompact compare "$storage"/{control,weights,channels} --margin 0.3 --out "$storage/page"
