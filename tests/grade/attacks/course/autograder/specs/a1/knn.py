from dlcvkit.checking import Case, Hidden, normal

knn_no_loops = Hidden(cases=[Case("one hidden image", x_train=normal(3, 2, 5), x_test=normal(1, 2, 5))])
kfold_indices = Hidden(cases=[Case("seven in three", n=7, folds=3)])
predict_labels = Hidden()
